// npm run bench [-- --quick] [-- name ...]: bundle every bench/**/*.bench.ts, run them, print one table, write JSON.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const flags = process.argv.slice(2);
const quick = flags.includes('--quick');
const wanted = flags.filter((flag) => !flag.startsWith('--'));

/** Every bench file below bench/, sorted by path. */
async function benchFiles() {
  const entries = await readdir(join(root, 'bench'), { recursive: true });
  return entries
    .filter((entry) => entry.endsWith('.bench.ts'))
    .map((entry) => join('bench', entry))
    .sort();
}

const files = (await benchFiles()).filter((file) => wanted.length === 0 || wanted.some((name) => file.includes(name)));
const outdir = join(root, 'node_modules/.halley-bench');
await build({
  entryPoints: files.map((file) => join(root, file)),
  outdir,
  outbase: join(root, 'bench'),
  outExtension: { '.js': '.mjs' },
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
  define: { HALLEY_ROOT: JSON.stringify(pathToFileURL(`${root}/`).href) },
});

// Adapters read their Lua beside themselves, which in a bundle is beside the bench.
const luaFiles = (await readdir(join(root, 'src'), { recursive: true })).filter((entry) => entry.endsWith('.lua'));
for (const directory of new Set(files.map((file) => join(outdir, dirname(relative('bench', file)))))) {
  for (const lua of luaFiles) await cp(join(root, 'src', lua), join(directory, basename(lua)));
}

const results = [];
for (const file of files) {
  const module = await import(pathToFileURL(join(outdir, relative('bench', file).replace(/\.ts$/, '.mjs'))).href);
  const result = await module.run({ quick });
  results.push({ file, ...result });
  console.log(`\n${result.title}\n  ${result.topology}`);
  const nameWidth = Math.max(...result.rows.map((row) => row.name.length), 4);
  for (const row of result.rows) {
    const ns = row.nsPerOp >= 1e6 ? `${(row.nsPerOp / 1e6).toFixed(2)} ms` : `${row.nsPerOp.toFixed(1)} ns`;
    const rate =
      row.opsPerSec >= 1e6 ? `${(row.opsPerSec / 1e6).toFixed(2)} M/s` : `${(row.opsPerSec / 1e3).toFixed(1)} k/s`;
    const p99 = row.p99Ns === undefined ? '' : `p99 ${(row.p99Ns / 1e3).toFixed(1)} us`;
    console.log(
      `  ${row.name.padEnd(nameWidth)}  ${ns.padStart(12)}  ${rate.padStart(12)}  ${p99.padStart(14)}  ${row.note ?? ''}`,
    );
  }
}

let commit = 'unknown';
try {
  commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
} catch {
  // A tarball has no git history; the JSON then says so.
}
const report = {
  command: `npm run bench${flags.length > 0 ? ` -- ${flags.join(' ')}` : ''}`,
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, platform: process.platform },
  commit,
  quick,
  results,
};
await mkdir(join(root, 'bench/results'), { recursive: true });
const out = join(root, 'bench/results/micro.json');
await writeFile(out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`\nwritten to ${relative(root, out)}`);
process.exit(0);
