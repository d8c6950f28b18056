// The YAML parser, in a part of its own that is loaded on first use. Re-exports only.
export { LineCounter, parseDocument, visit } from 'yaml';
