/**
 * e2e: the end-to-end bench. Question: what does it cost a server to bring one message to many sockets, and what does a
 * connection cost that only waits?
 *
 * Topology: runner -> one server process (fresh for every run) and one load process per 15,000 connections, raw sockets
 *   on the loopback from many 127.1.x.y addresses. All servers speak goim's wire, so the clients do the same work
 *   for each. Messages of 64 bytes; the publisher is the main thread of the server's own process (`--door app`: an
 *   application module in a bucket; `--door http`: outside, through the API).
 * Cores: 2 at least, one for the clients; what a client queues counts into the delay.
 * Competitors: bare uWebSockets.js (one thread; as many workers as Halley has buckets, posted to shard by shard; with a
 *   merge window), `ws`, Socket.IO where it is installed.
 * Correct: every run proves count and order on every connection (`--verify` is the default) before a figure is shown.
 *
 *   servers/  what is measured: Halley's application module and the peers
 *   run/      the runner: options, scenarios, processes, measuring, report, plot
 *   check.ts  `npm run bench:check`: what CI can hold
 * The load clients, the wire and the measured window are src/cli/bench, which `halley bench` ships.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measure, type RunResult } from './run/measure.js';
import { type E2eOptions, HELP, parseOptions, type ServerName } from './run/options.js';
import { plot } from './run/plot.js';
import { type CaseResult, caseTable, failuresOf } from './run/report.js';
import { type BenchCase, caseTitle } from './run/scenario.js';
import type { ServerFiles } from './run/server-process.js';

/** Set by run.mjs. */
declare const HALLEY_ROOT: string;

const files: ServerFiles = { bundle: new URL('.', import.meta.url), root: new URL(HALLEY_ROOT) };

/** One line on a terminal that says where the bench is; nothing elsewhere. */
function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text.slice(0, process.stderr.columns - 1)}`);
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: fileURLToPath(files.root),
      encoding: 'utf8',
    }).trim();
  } catch {
    // A tarball has no history; the JSON then says so.
    return 'unknown';
  }
}

/** The servers that can run here; a peer that is not installed is left out with a line. */
function installedServers(options: E2eOptions): readonly ServerName[] {
  if (!options.servers.includes('socketio') || existsSync(new URL('node_modules/socket.io', files.root))) {
    return options.servers;
  }
  console.log('socketio is left out: the package socket.io is not installed');
  return options.servers.filter((name) => name !== 'socketio');
}

async function runCase(
  benchCase: BenchCase,
  servers: readonly ServerName[],
  options: E2eOptions,
): Promise<RunResult[]> {
  const runs: RunResult[] = [];
  const runOne = async (server: ServerName, run: number): Promise<void> => {
    const where = `${caseTitle(benchCase)} | run ${run}/${options.runs} | ${server} |`;
    runs.push(await measure(server, benchCase, run, options, files, (what) => showProgress(`${where} ${what}`)));
  };
  const own = servers.filter((server) => server !== 'uws-merge' || benchCase.isMergeable);
  for (let run = 1; run <= options.runs; run++) {
    // A smoke asks whether everything arrives, not what it costs: its servers run side by side.
    if (options.isSmoke) await Promise.all(own.map((server) => runOne(server, run)));
    else for (const server of own) await runOne(server, run);
  }
  return runs.sort((a, b) => own.indexOf(a.server) - own.indexOf(b.server) || a.run - b.run);
}

async function runCases(options: E2eOptions): Promise<CaseResult[]> {
  const servers = installedServers(options);
  const results: CaseResult[] = [];
  for (const benchCase of options.cases) {
    const result = { benchCase, runs: await runCase(benchCase, servers, options) };
    showProgress('');
    console.log(`\n${caseTitle(benchCase)}: ${benchCase.question}\n${caseTable(result)}`);
    results.push(result);
  }
  return results;
}

async function writeReport(options: E2eOptions, results: readonly CaseResult[]): Promise<string> {
  const out = resolve(fileURLToPath(files.root), options.out);
  const report = {
    command: ['npm run bench:e2e --', ...process.argv.slice(2)].join(' '),
    machine: {
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.version,
    },
    commit: commit(),
    at: new Date().toISOString(),
    door: options.door,
    buckets: options.buckets,
    isSmoke: options.isSmoke,
    results,
  };
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(`${out.replace(/\.json$/, '')}.svg`, plot(results));
  return out;
}

/** Exit code: 0; 1 where Halley (in a smoke: anyone) lost, doubled or reordered anything or dropped a connection. */
async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(HELP);
    return 0;
  }
  const feed = {
    embed: 'from the main thread of its process, as the peers are',
    app: 'by an application module in a bucket',
    http: 'through POST /goim/push by a publisher process',
  }[options.door];
  console.log(
    `Halley has ${options.buckets} bucket(s) and is fed ${feed}; medians of ${options.runs} interleaved run(s).`,
  );
  const results = await runCases(options);
  console.log(`\nwritten to ${await writeReport(options, results)} and its .svg`);
  const failures = results.flatMap(({ benchCase, runs }) =>
    runs
      .filter(({ server }) => options.isSmoke || server.startsWith('halley'))
      .flatMap((run) => failuresOf(run).map((failure) => `${caseTitle(benchCase)}: ${failure}`)),
  );
  for (const failure of failures) console.error(`FAILED ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  showProgress('');
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
