/**
 * What `halley bench` prints: the figures of one run as lines for a reader.
 */
import type { Delivery } from './delivery.js';
import type { CpuSpent } from './proc.js';

export interface BenchFigures {
  readonly room: string;
  readonly ratePerSec: number;
  readonly readyCount: number;
  readonly failedCount: number;
  readonly closedCount: number;
  /** Why the first connection failed or was closed. */
  readonly firstError: string | undefined;
  readonly connectMs: number;
  readonly isVerified: boolean;
  readonly delivery: Delivery;
  /** Of the server; undefined where its process is not known. */
  readonly cpu: CpuSpent | undefined;
  readonly nsPerMessage: number | undefined;
  readonly rssBytes: number | undefined;
  readonly rssPerConnectionBytes: number | undefined;
}

const LABEL_WIDTH = 14;
const KB = 1024;
const MB = KB * KB;

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

function cpuLine({ cpu, nsPerMessage, delivery }: BenchFigures): string {
  if (cpu === undefined || nsPerMessage === undefined) return 'not known: the server is not ours (--pid N names it)';
  const { userMs, systemMs, mainMs, otherMs } = cpu;
  const share = (partMs: number): string => `${((partMs * 100) / delivery.windowMs).toFixed(0)} %`;
  const buckets = otherMs.length === 0 ? '' : `, other threads ${otherMs.slice(0, 4).map(share).join(' ')}`;
  return `${count(nsPerMessage)} ns per message (user ${share(userMs)}, system ${share(systemMs)} of a core; main thread ${share(mainMs)}${buckets})`;
}

/** Lines without line ends. */
export function reportLines(figures: BenchFigures): string[] {
  const { delivery, rssBytes, rssPerConnectionBytes, readyCount, failedCount, closedCount, connectMs } = figures;
  const perFrame = delivery.deliveredCount / Math.max(1, delivery.frameCount);
  const order = figures.isVerified
    ? `${count(delivery.duplicateCount)} duplicates, ${count(delivery.backwardCount)} out of order, checked on every connection`
    : 'checked on a sample only (--verify checks every connection)';
  const rows: [string, string][] = [
    [
      'connections',
      `${count(readyCount)} ready in ${(connectMs / 1000).toFixed(2)} s (${count((readyCount * 1000) / Math.max(1, connectMs))}/s), ${count(failedCount)} failed, ${count(closedCount)} closed`,
    ],
    [
      'published',
      `${count(delivery.acceptedCount)} of ${count(delivery.offeredCount)} messages to ${figures.room} at ${figures.ratePerSec}/s, ${count(delivery.refusedCount)} refused, at most ${ms(delivery.publisherLateMs)} late`,
    ],
    [
      'delivered',
      `${count(delivery.deliveredCount)} of ${count(delivery.expectedCount)} (${count(delivery.deliveredPerSec)}/s), ${count(delivery.lostCount)} lost`,
    ],
    ['order', order],
    [
      'frames',
      `${count(delivery.frameCount)} (${perFrame.toFixed(1)} messages each), ${count(delivery.readBytes)} bytes`,
    ],
    [
      'delay',
      `p50 ${ms(delivery.p50Ms)}, p99 ${ms(delivery.p99Ms)}, p99.9 ${ms(delivery.p999Ms)}, max ${ms(delivery.maxMs)}`,
    ],
    ['server CPU', cpuLine(figures)],
  ];
  if (rssBytes !== undefined && rssPerConnectionBytes !== undefined) {
    rows.push([
      'server memory',
      `${(rssBytes / MB).toFixed(0)} MB of RSS, ${(rssPerConnectionBytes / KB).toFixed(2)} KB per connection`,
    ]);
  }
  rows.push(['load clients', `${delivery.clientCores.toFixed(2)} cores`]);
  return rows.map(([label, value]) => `${label.padEnd(LABEL_WIDTH)}${value}`);
}
