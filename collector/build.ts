// Bundles the collector into one file that needs nothing but Node: node collector/build.ts [FILE]
import { resolve } from 'node:path';
import { build } from 'esbuild';

export async function bundle(file: string): Promise<void> {
  await build({
    entryPoints: [resolve(import.meta.dirname, 'main.ts')],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'esm',
    mainFields: ['module', 'main'],
    // An optional part of the blob SDK that nothing here uses.
    external: ['apache-arrow'],
    // Some of the SDK's own packages are CommonJS and ask for Node's modules by require.
    banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: 'warning',
  });
}

if (process.argv[1] === import.meta.filename) {
  await bundle(process.argv[2] ?? resolve(import.meta.dirname, '../dist/collector.mjs'));
}
