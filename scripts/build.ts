// Bundles the app into dist/: main.cjs (all of our code) and one file per lazy part (the SDKs, loaded on first use); and the collector,
// as the sandbox runs it, into collector.mjs.
import { rmSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { build, type BuildOptions, type Plugin } from 'esbuild';
import { bundle } from '../collector/build.ts';

const root = resolve(import.meta.dirname, '..');
const lazyParts = new Set<string>();

/** `import('./x.lazy.ts')` becomes a require of dist/x.cjs, which is bundled as an entry of its own. */
const lazy: Plugin = {
  name: 'lazy',
  setup(part) {
    part.onResolve({ filter: /\.lazy\.ts$/ }, ({ path, kind, resolveDir }) => {
      if (kind !== 'dynamic-import') return undefined;
      const file = resolve(resolveDir, path);
      lazyParts.add(file);
      return { path: `./${nameOf(file)}.cjs`, external: true };
    });
  },
};

/**
 * The exporter of Application Insights would ask a service of its maker, once an hour, which statistics of itself to send. None are
 * sent here, so nothing is asked: the app talks to the addresses in its settings and to no others.
 */
const noRemoteSettings: Plugin = {
  name: 'no-remote-settings',
  setup(part) {
    part.onLoad({ filter: /monitor-opentelemetry-exporter[\\/].*[\\/]configurationWorker\.js$/ }, () => ({
      contents: 'export class ConfigurationWorker { shutdown() {} }',
    }));
  },
};

const nameOf = (file: string): string => basename(file, '.lazy.ts');

const common: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node22',
  format: 'cjs',
  // The worker supplies it by patching require. Arrow is an optional part of the blob SDK that nothing here uses.
  external: ['@azure/functions-core', 'apache-arrow'],
  mainFields: ['module', 'main'],
  // Loads lazy parts by require: import() of CommonJS would start the ES module loader as well.
  supported: { 'dynamic-import': false },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'importMetaUrl', 'import.meta.dirname': '__dirname' },
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
  plugins: [lazy, noRemoteSettings],
};

rmSync(resolve(root, 'dist'), { recursive: true, force: true });
await build({ ...common, entryPoints: [resolve(root, 'functions/main.ts')], outfile: resolve(root, 'dist/main.cjs') });
await Promise.all(
  [...lazyParts].map((file) =>
    build({ ...common, entryPoints: [file], outfile: resolve(root, `dist/${nameOf(file)}.cjs`) }),
  ),
);
await bundle(resolve(root, 'dist/collector.mjs'));
