// Application Insights' own set of providers without its automatic collection, in a part of its own that is loaded only when telemetry
// is on. It is a private path of the package, whose entry would load all of that collection besides. Re-exports only.
export { TelemetryClientProvider } from 'applicationinsights/out/src/shim/telemetryClientProvider.js';
export { diag, DiagLogLevel, ROOT_CONTEXT, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
export { resourceFromAttributes } from '@opentelemetry/resources';
