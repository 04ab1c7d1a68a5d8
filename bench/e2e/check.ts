/**
 * `npm run bench:check`: what a change must not break and any machine can hold: counts, and ratios to a bare uWS server of
 * the same run, never times. Exit code 1 where something is out of bounds.
 *
 * Question: does a message still cost one record, at most one wake-up per bucket concerned, one frame or less per member, and
 *   hardly any garbage? Is a bucket without members left asleep? Is Halley's CPU still in the neighbourhood of bare uWS?
 * Topology: as bench:e2e, fed from the main thread; cases of seconds. Cores: 2.
 * Competitor: `uws` with as many workers as Halley has buckets.
 */
import { measure, type RunResult } from './run/measure.js';
import type { NodeCounters } from './run/node-counters.js';
import { type E2eOptions, parseOptions } from './run/options.js';
import { failuresOf } from './run/report.js';
import { type BenchCase, caseTitle } from './run/scenario.js';
import type { ServerFiles } from './run/server-process.js';

/** Set by run.mjs. */
declare const HALLEY_ROOT: string;

const files: ServerFiles = { bundle: new URL('.', import.meta.url), root: new URL(HALLEY_ROOT) };
const SETTLE_MS = 200;
const WARM_UP_SECONDS = 0.6;
/** Young generations so large that nothing is collected in the window: the heap's growth is then what was allocated. */
const QUIET_GC_FLAGS = ['--min-semi-space-size=64', '--max-semi-space-size=64'];

/** One quantity of one run of Halley, with the bare server beside it. */
interface Bound {
  readonly name: string;
  readonly atMost: number;
  readonly of: (halley: RunResult, counters: NodeCounters, uws: RunResult) => number;
}

interface Check {
  readonly argv: readonly string[];
  readonly buckets: number;
  readonly bounds: readonly Bound[];
}

function accepted(run: RunResult): number {
  return Math.max(1, run.delivery?.acceptedCount ?? 0);
}

function delivered(run: RunResult): number {
  return Math.max(1, run.delivery?.deliveredCount ?? 0);
}

/** Counted one by one, so the bound is exact. */
const RECORDS: Bound = {
  name: 'records in the ring per message',
  atMost: 1,
  of: (halley, { pushCount }) => pushCount / accepted(halley),
};
const HONEST_FRAMES: Bound = {
  name: 'frames that clients saw beyond those Halley counts',
  atMost: 0,
  of: (halley, { frameCount }) => Math.abs((halley.delivery?.frameCount ?? 0) - frameCount),
};
const HONEST_DELIVERIES: Bound = {
  name: 'deliveries that Halley counts beside those that happened',
  atMost: 0,
  of: (halley, { deliveredCount }) => Math.abs(deliveredCount - delivered(halley)),
};

function doorbells(atMost: number): Bound {
  return { name: 'doorbells per message', atMost, of: (halley, { doorbellCount }) => doorbellCount / accepted(halley) };
}

function frames(atMost: number): Bound {
  return {
    name: 'frames per delivery, to those of bare uWS',
    atMost,
    of: (halley, { frameCount }, uws) =>
      frameCount / delivered(halley) / ((uws.delivery?.frameCount ?? Number.NaN) / delivered(uws)),
  };
}

function cpu(atMost: number): Bound {
  return {
    name: 'CPU per delivery, to that of bare uWS',
    atMost,
    of: (halley, _counters, uws) => (halley.nsPerMessage ?? Number.NaN) / (uws.nsPerMessage ?? Number.NaN),
  };
}

/** One per message; the rest is for what the node tells its buckets meanwhile. */
const ONE_WAKE_UP = 1.01;

const CHECKS: readonly Check[] = [
  {
    argv: ['--scenario', 'room', '--members', '400', '--rate', '200', '--seconds', '2.5'],
    buckets: 1,
    bounds: [RECORDS, HONEST_DELIVERIES, HONEST_FRAMES, doorbells(ONE_WAKE_UP), frames(1), cpu(2)],
  },
  {
    argv: ['--scenario', 'room', '--members', '50', '--rate', '8000', '--seconds', '2'],
    buckets: 1,
    bounds: [
      RECORDS,
      HONEST_DELIVERIES,
      HONEST_FRAMES,
      doorbells(0.5),
      frames(0.5),
      cpu(2),
      {
        name: 'bytes allocated in the bucket per message',
        atMost: 400,
        of: (halley, { bucketHeapBytes }) => bucketHeapBytes / accepted(halley),
      },
      {
        name: 'bytes allocated on the control thread per message',
        atMost: 1_200,
        of: (halley, { controlHeapBytes }) => controlHeapBytes / accepted(halley),
      },
    ],
  },
  {
    // One member per room: each message concerns one of two buckets, and the other one must not be woken.
    argv: ['--scenario', 'small-rooms', '--members', '200', '--rooms', '200', '--rate', '1000', '--seconds', '2.5'],
    buckets: 2,
    bounds: [RECORDS, HONEST_DELIVERIES, HONEST_FRAMES, doorbells(ONE_WAKE_UP), frames(1), cpu(2.5)],
  },
];

/** The one case of a check, and the options it runs with. */
function prepare({ argv, buckets }: Check): { options: E2eOptions; benchCase: BenchCase } {
  const options = parseOptions([...argv, '--buckets', String(buckets), '--only', 'halley,uws', '--runs', '1']);
  const benchCase = options?.cases[0];
  if (options === undefined || benchCase === undefined) throw new Error(`not a case: ${argv.join(' ')}`);
  const fixed = { withCounters: true, settleMs: SETTLE_MS, warmUpSeconds: WARM_UP_SECONDS, nodeFlags: QUIET_GC_FLAGS };
  return { options: { ...options, ...fixed }, benchCase };
}

function judge({ bounds }: Check, halley: RunResult, uws: RunResult): string[] {
  const failures = [...failuresOf(halley), ...failuresOf(uws)];
  const { counters } = halley;
  if (counters === undefined) return [...failures, 'halley told no counters'];
  for (const { name, atMost, of } of bounds) {
    const value = of(halley, counters, uws);
    // Garbage collection inside the window: the figure says nothing, and says so.
    const isKnown = Number.isFinite(value) && value >= 0;
    const isHeld = isKnown && value <= atMost;
    console.log(
      `  ${isHeld ? 'ok    ' : 'BROKEN'}  ${name.padEnd(56)} ${value.toFixed(2).padStart(9)}  at most ${atMost}`,
    );
    if (!isKnown) failures.push(`${name} could not be measured: value=${value}`);
    else if (!isHeld) failures.push(`${name}: ${value.toFixed(3)} is above ${atMost}`);
  }
  return failures;
}

async function main(): Promise<number> {
  const failures: string[] = [];
  for (const check of CHECKS) {
    const { options, benchCase } = prepare(check);
    const run = (server: 'halley' | 'uws'): Promise<RunResult> =>
      measure(server, benchCase, 1, options, files, () => undefined);
    const uws = await run('uws');
    const halley = await run('halley');
    const title = `${caseTitle(benchCase)}, ${check.buckets} bucket(s)`;
    console.log(title);
    failures.push(...judge(check, halley, uws).map((failure) => `${title}: ${failure}`));
  }
  for (const failure of failures) console.error(`FAILED ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
