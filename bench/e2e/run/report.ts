/**
 * Medians over the runs, the table on the terminal, and what counts as a failure.
 */
import { deliveryFailures } from '../../../src/cli/bench/index.js';
import type { RunResult } from './measure.js';
import type { ServerName } from './options.js';
import type { BenchCase } from './scenario.js';

export interface CaseResult {
  readonly benchCase: BenchCase;
  readonly runs: readonly RunResult[];
}

/** Of the figures that exist; NaN of none. For an even count the lower of the two in the middle. */
export function median(values: readonly (number | undefined)[]): number {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

/** Losses and disorder are never averaged away: the worst run counts. */
function worst(values: readonly (number | undefined)[]): number {
  return Math.max(0, ...values.filter((value) => value !== undefined));
}

function whole(value: number): string {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : '-';
}

function fixed(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '-';
}

type Row = Readonly<Record<string, string>>;

function deliveryRow(server: ServerName, runs: readonly RunResult[]): Row {
  const of = (field: (run: RunResult) => number | undefined): number => median(runs.map(field));
  const delivered = (run: RunResult): number => Math.max(1, run.delivery?.deliveredCount ?? 0);
  const handed = (run: RunResult): number => delivered(run) + run.churnDeliveredCount;
  const perMessage = (ms: number | undefined, run: RunResult): number | undefined =>
    ms === undefined ? undefined : (ms * 1e6) / handed(run);
  return {
    server,
    'delivered/s': whole(of(({ delivery }) => delivery?.deliveredPerSec)),
    refused: whole(worst(runs.map(({ delivery }) => delivery?.refusedCount))),
    lost: whole(worst(runs.map(({ delivery }) => delivery?.lostCount))),
    dup: whole(worst(runs.map(({ delivery }) => delivery?.duplicateCount))),
    disorder: whole(worst(runs.map(({ delivery }) => delivery?.backwardCount))),
    'CPU ns/msg': whole(of(({ nsPerMessage }) => nsPerMessage)),
    'user/sys': `${whole(of((run) => perMessage(run.cpu?.userMs, run)))}/${whole(of((run) => perMessage(run.cpu?.systemMs, run)))}`,
    'main+others': threads(runs, perMessage),
    'msg/frame': fixed(
      of((run) => delivered(run) / Math.max(1, run.delivery?.frameCount ?? 0)),
      1,
    ),
    'msg/segment': fixed(
      of((run) => handed(run) / Math.max(1, run.delivery?.segmentCount ?? Number.NaN)),
      1,
    ),
    'B/msg': fixed(
      of((run) => (run.delivery?.readBytes ?? 0) / delivered(run)),
      0,
    ),
    'p50 ms': fixed(
      of(({ delivery }) => delivery?.p50Ms),
      1,
    ),
    p99: fixed(
      of(({ delivery }) => delivery?.p99Ms),
      1,
    ),
    'p99.9': fixed(
      of(({ delivery }) => delivery?.p999Ms),
      1,
    ),
    max: fixed(
      of(({ delivery }) => delivery?.maxMs),
      1,
    ),
    'client cores': fixed(
      of(({ delivery }) => delivery?.clientCores),
      2,
    ),
  };
}

/** The main thread and the two busiest others, in ns per message. */
function threads(
  runs: readonly RunResult[],
  perMessage: (ms: number | undefined, run: RunResult) => number | undefined,
): string {
  const of = (field: (run: RunResult) => number | undefined) =>
    whole(median(runs.map((run) => perMessage(field(run), run))));
  const others = [0, 1].map((index) => of((run) => run.cpu?.otherMs[index] ?? 0)).filter((text) => text !== '0');
  return [of((run) => run.cpu?.mainMs), ...others].join('+');
}

function connectionRow(server: ServerName, runs: readonly RunResult[]): Row {
  const of = (field: (run: RunResult) => number | undefined): number => median(runs.map(field));
  return {
    server,
    ready: whole(of(({ readyCount }) => readyCount)),
    failed: whole(worst(runs.map(({ failedCount, closedCount }) => failedCount + closedCount))),
    'connect s': fixed(
      of(({ connectMs }) => connectMs / 1000),
      2,
    ),
    'conn/s': whole(of(({ readyCount, connectMs }) => (readyCount * 1000) / connectMs)),
    'CPU us/conn': fixed(
      of(({ connectCpuUs }) => connectCpuUs),
      1,
    ),
    'base MB': fixed(
      of(({ baseRssMb }) => baseRssMb),
      0,
    ),
    'RSS KB/conn': fixed(
      of(({ rssPerConnectionKb }) => rssPerConnectionKb),
      2,
    ),
  };
}

function table(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, index) => (index === 0 ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!))).join('  ');
  return [line(columns), ...rows.map((row) => line(columns.map((column) => row[column]!)))].join('\n');
}

/** The table of one case, a row per server; of several nodes what they hold as well, where `max` is the total push time. */
export function caseTable({ benchCase, runs }: CaseResult): string {
  const servers = [...new Set(runs.map(({ server }) => server))];
  const rowsOf = (toRow: (server: ServerName, own: readonly RunResult[]) => Row): Row[] =>
    servers.map((server) =>
      toRow(
        server,
        runs.filter((run) => run.server === server),
      ),
    );
  const tables: string[] = [];
  if (benchCase.ratePerSec > 0) tables.push(table(rowsOf(deliveryRow)));
  if (benchCase.ratePerSec === 0 || benchCase.nodeCount > 1) tables.push(table(rowsOf(connectionRow)));
  return tables.join('\n');
}

/** What is wrong with a run, as sentences; none for a clean one. */
export function failuresOf(result: RunResult): string[] {
  return deliveryFailures(result).map((failure) => `${result.server}, run ${result.run}: ${failure}`);
}
