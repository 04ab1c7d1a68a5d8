// npm test [-- vitest arguments] | npm run test:long: everything the tests need, then the tests, then one closing line.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const args = process.argv.slice(2);
const long = args.includes('--long');

/** Programs that tests drive, and the Debian package that brings each. */
const PROGRAMS = [
  { name: 'chromium', path: '/usr/bin/chromium', debianPackage: 'chromium' },
  { name: 'redis-server', path: '/usr/bin/redis-server', debianPackage: 'redis-server' },
];

/** Run a command with its output shown; true on success. */
function run(command, commandArgs, options = {}) {
  return spawnSync(command, commandArgs, { cwd: root, stdio: 'inherit', ...options }).status === 0;
}

/** Install what is missing, or say how. */
function ensurePrograms() {
  const missing = PROGRAMS.filter(({ path }) => !existsSync(path));
  if (missing.length === 0) return;
  const packages = missing.map(({ debianPackage }) => debianPackage);
  const command = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  const mayInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  console.log(`the tests need ${packages.join(', ')}${mayInstall ? '; installing' : ''}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (mayInstall && run('sh', ['-c', `${command} >/tmp/halley-apt.log 2>&1`], { env })) return;
  console.error(
    `${packages.join(', ')} could not be installed${mayInstall ? ' (see /tmp/halley-apt.log)' : ': that needs root on Debian'}.\n` +
      `Install it by hand, then run the tests again:\n  sudo sh -c '${command}'`,
  );
  process.exit(1);
}

ensurePrograms();
if (!run(process.execPath, ['scripts/build.mjs'])) process.exit(1);

const resultDir = mkdtempSync(join(tmpdir(), 'halley-tests-'));
const resultFile = join(resultDir, 'result.json');
const status = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${resultFile}`,
    ...args.filter((argument) => argument !== '--long'),
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, ...(long ? { HALLEY_LONG: '1' } : {}) } },
).status;

let line = '0 passed, 1 failed';
try {
  const result = JSON.parse(readFileSync(resultFile, 'utf8'));
  const failed = result.numFailedTests + (status !== 0 && result.numFailedTests === 0 ? 1 : 0);
  const skipped = result.numPendingTests + result.numTodoTests;
  line = `${result.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
} catch (error) {
  console.error(`no test result: ${error.message}`);
}
rmSync(resultDir, { recursive: true, force: true });
console.log(line);
process.exit(status ?? 1);
