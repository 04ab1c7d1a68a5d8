// npm run bench:e2e [-- options], npm run bench:check: bundle the entries of bench/e2e, then run main.ts or check.ts.
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const outdir = join(root, 'bench/results/.e2e');
await build({
  entryPoints: [
    'main.ts',
    'check.ts',
    'servers/halley-app.ts',
    'servers/socketio.peer.ts',
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
const entry = process.argv[2] === '--check' ? 'check.mjs' : 'main.mjs';
await import(pathToFileURL(join(outdir, entry)).href);
