/**
 * `halley cluster local`: a cluster on one machine, to try things out and to show them.
 *
 * Threads: main thread; nodes and Redis are processes of their own.
 * Guarantees: resolves when all of them have ended: in order after the first signal, at once after the second. Killed with
 *   SIGKILL it leaves them behind, since they do not share its terminal; the next start says so.
 */
import { HalleyError } from '../errors/index.js';
import { CLUSTER_HELP, parseClusterOptions } from './cluster-options.js';
import { type LocalAddresses, LocalCluster } from './local-cluster.js';
import { USAGE_ERROR } from './operator-flags.js';
import { textTable } from './text-table.js';

export interface ClusterIo {
  /** Write to standard output; the text brings its own line ends. */
  readonly out: (text: string) => void;
  /** Write to standard error. */
  readonly err: (text: string) => void;
  /** The nodes get it as it is. */
  readonly env: NodeJS.ProcessEnv;
  /** The text of a file; throws where it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Calls back at the first and every further request to stop. */
  readonly onSignal: (handler: (reason: string) => void) => void;
}

export const CLUSTER_EXIT = { OK: 0, FAILED: 1, USAGE: 2 } as const;

const USAGE_CODES: ReadonlySet<string> = new Set([USAGE_ERROR, 'CONFIG_INVALID']);

function readyText({ nodes, redis }: LocalAddresses): string {
  const table = textTable(
    ['NODE', 'PID', 'WEBSOCKET', 'HTTP API'],
    [
      ...nodes.map(({ serverId, pid, wsUrl, httpUrl }) => [serverId, pid, wsUrl, httpUrl]),
      ...(redis === undefined ? [] : [['redis', redis.pid, redis.url, '']]),
    ],
  );
  const [first] = nodes;
  const files = redis === undefined ? '' : `Redis keeps its data in ${redis.directory}\n`;
  return `${table}${files}try: halley push --url ${first?.httpUrl} --room live://1 --op 1000 '{"hello":1}'\nCtrl-C stops all\n`;
}

/**
 * Run `halley cluster`. Resolves with the exit code.
 *
 * @param argv what follows `halley cluster`
 */
export async function runClusterCommand(argv: readonly string[], io: ClusterIo): Promise<number> {
  let cluster: LocalCluster | undefined;
  try {
    const options = parseClusterOptions(argv, io.env, io.readFile);
    if (options === undefined) {
      io.out(CLUSTER_HELP);
      return CLUSTER_EXIT.OK;
    }
    cluster = new LocalCluster(options, {
      env: io.env,
      onLine: (line, stream) => (stream === 'stdout' ? io.out(`${line}\n`) : io.err(`${line}\n`)),
    });
    return await run(cluster, io);
  } catch (error) {
    const known = error instanceof HalleyError ? error : undefined;
    io.err(`halley cluster: ${known?.message ?? (error instanceof Error ? error.message : String(error))}\n`);
    if (known === undefined || !USAGE_CODES.has(known.code)) return CLUSTER_EXIT.FAILED;
    io.err('halley cluster --help shows what there is\n');
    return CLUSTER_EXIT.USAGE;
  }
}

async function run(cluster: LocalCluster, io: ClusterIo): Promise<number> {
  // Whatever ends this process in another way, a defect included.
  process.once('exit', () => cluster.kill());
  let signalCount = 0;
  const asked = new Promise<string>((resolve) => {
    io.onSignal((reason) => {
      signalCount += 1;
      resolve(reason);
      if (signalCount > 1) cluster.kill();
    });
  });
  let isEnding = false;
  const stopped = asked.then((reason) => ({ sentence: `stopping (${reason})`, isFailure: false }));
  const lost = cluster.lost.then((sentence) => ({ sentence, isFailure: true }));
  const failed = cluster.start().then(
    (addresses) => {
      // A node that is told to stop while it starts becomes ready first.
      if (!isEnding) io.out(readyText(addresses));
      return undefined;
    },
    (error: unknown) => ({ sentence: error instanceof Error ? error.message : String(error), isFailure: true }),
  );
  const end = (await Promise.race([stopped, lost, failed])) ?? (await Promise.race([stopped, lost]));
  isEnding = true;
  if (end.isFailure) io.err(`halley cluster: ${end.sentence}\n`);
  else io.out(`halley cluster is ${end.sentence}\n`);
  if (end.isFailure && cluster.runningCount > 0) io.err('halley cluster: stopping the others\n');
  const problems = await cluster.stop();
  for (const problem of problems) io.err(`halley cluster: ${problem}\n`);
  if (!end.isFailure && problems.length === 0) io.out('halley cluster has stopped\n');
  return end.isFailure || problems.length > 0 ? CLUSTER_EXIT.FAILED : CLUSTER_EXIT.OK;
}
