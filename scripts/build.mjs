// Build everything that ships: TypeScript and Lua to dist/, then for browsers the page to dist/page/ and the SDK's bundle.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const started = performance.now();

const compiled = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// Lua of the Redis adapters and the proto of the id service stand beside their code, in dist/ as in src/.
for (const file of await readdir(join(root, 'src'), { recursive: true })) {
  if (/\.(lua|proto)$/.test(file)) await cp(join(root, 'src', file), join(root, 'dist', file));
}

if (existsSync(join(root, 'src/page/page.ts'))) {
  const { build } = await import('esbuild');
  await mkdir(join(root, 'dist/page'), { recursive: true });
  await build({
    entryPoints: [join(root, 'src/page/page.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outfile: join(root, 'dist/page/page.js'),
    logLevel: 'warning',
  });
  for (const file of ['page.html', 'page.css']) await cp(join(root, 'src/page', file), join(root, 'dist/page', file));
}

if (existsSync(join(root, 'src/client/index.ts'))) {
  const { clientBundle } = await import('./client-bundle.mjs');
  await clientBundle(root, join(root, 'dist/client/halley-client.js'));
}
if (existsSync(join(root, 'dist/main.js'))) await chmod(join(root, 'dist/main.js'), 0o755);
console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
