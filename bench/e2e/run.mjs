// npm run bench:e2e [-- options]: bundle the entries of bench/e2e, then run its main.ts with the same options.
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const outdir = join(root, 'bench/results/.e2e');
await build({
  entryPoints: [
    'main.ts',
    'load/load-client.main.ts',
    'servers/halley-app.ts',
    'servers/http-publisher.main.ts',
    'servers/uws.peer.ts',
    'servers/uws.worker.ts',
    'servers/ws.peer.ts',
  ].map((file) => join(here, file)),
  outdir,
  outbase: here,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
  define: { HALLEY_ROOT: JSON.stringify(pathToFileURL(`${root}/`).href) },
});
await import(pathToFileURL(join(outdir, 'main.mjs')).href);
