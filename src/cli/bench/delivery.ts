/**
 * Feed, wait until everything has arrived, and say what did: the measured window of a run.
 *
 * The window runs from just before the first message until everything arrived (or nothing has for 1.5 s), so work that a
 * server puts off is counted with it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LoadFleet } from './load/load-fleet.js';
import { type CpuSpent, type ProcessMeter, readDataSegments } from './proc.js';
import type { FeedReport } from './wire/feed.js';

const POLL_MS = 100;
const QUIET_MS = 1_500;
const DRAIN_DEADLINE_MS = 15_000;
const US_PER_MS = 1_000;

export interface Delivery {
  readonly offeredCount: number;
  readonly acceptedCount: number;
  readonly refusedCount: number;
  readonly expectedCount: number;
  readonly deliveredCount: number;
  readonly lostCount: number;
  readonly duplicateCount: number;
  readonly backwardCount: number;
  readonly minPerConnection: number;
  readonly maxPerConnection: number;
  readonly frameCount: number;
  readonly readCount: number;
  readonly readBytes: number;
  /** TCP data segments of the machine in the window: about the socket writes. */
  readonly segmentCount: number | undefined;
  readonly deliveredPerSec: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** The furthest the publisher lagged behind its schedule. */
  readonly publisherLateMs: number;
  readonly windowMs: number;
  /** CPU of the load clients in the window, in cores. */
  readonly clientCores: number;
}

/** What a publisher did, and how many deliveries follow from it over all connections. */
export interface Publication {
  readonly report: FeedReport;
  readonly expectedCount: number;
}

export type Progress = (what: string) => void;

/** Wait until `expected` messages arrived, or nothing has for a while. Returns when the last one was seen. */
export async function drained(
  fleet: LoadFleet,
  expected: number,
  startedMs: number,
  progress: Progress,
): Promise<number> {
  const deadlineMs = performance.now() + DRAIN_DEADLINE_MS;
  let seen = -1;
  let seenAtMs = performance.now();
  for (;;) {
    const { receivedCount } = await fleet.tally(false);
    const nowMs = performance.now();
    if (receivedCount !== seen) {
      seen = receivedCount;
      seenAtMs = nowMs;
    }
    progress(`${seen} of ${expected} after ${((nowMs - startedMs) / 1000).toFixed(1)} s`);
    if (seen >= expected || nowMs - seenAtMs > QUIET_MS || nowMs > deadlineMs) return seenAtMs;
    await delay(POLL_MS);
  }
}

/** One measured window. `publish` resolves when the last message is published. */
export async function measureDelivery(
  fleet: LoadFleet,
  meter: ProcessMeter,
  publish: () => Promise<Publication>,
  progress: Progress,
): Promise<{ delivery: Delivery; cpu: CpuSpent | undefined }> {
  await fleet.reset();
  const clientCpuMs = (await fleet.tally(false)).cpuMs;
  const segments = readDataSegments();
  meter.mark();
  const startedMs = performance.now();
  progress('publishing');
  const { report, expectedCount } = await publish();
  const lastSeenMs = await drained(fleet, expectedCount, startedMs, progress);
  const cpu = meter.spent();
  const segmentsAfter = readDataSegments();
  const windowMs = lastSeenMs - startedMs;
  const tally = await fleet.tally(true);
  const deliveredCount = tally.receivedCount - tally.duplicateCount;
  const { delays } = tally;
  const delivery: Delivery = {
    offeredCount: report.acceptedCount + report.refusedCount,
    acceptedCount: report.acceptedCount,
    refusedCount: report.refusedCount,
    expectedCount,
    deliveredCount,
    lostCount: expectedCount - deliveredCount,
    duplicateCount: tally.duplicateCount,
    backwardCount: tally.backwardCount,
    minPerConnection: tally.minPerConnection,
    maxPerConnection: tally.maxPerConnection,
    frameCount: tally.frameCount,
    readCount: tally.readCount,
    readBytes: tally.readBytes,
    segmentCount: segments === undefined || segmentsAfter === undefined ? undefined : segmentsAfter - segments,
    deliveredPerSec: (deliveredCount * 1000) / windowMs,
    p50Ms: delays.percentileUs(50) / US_PER_MS,
    p99Ms: delays.percentileUs(99) / US_PER_MS,
    p999Ms: delays.percentileUs(99.9) / US_PER_MS,
    maxMs: delays.maxUs / US_PER_MS,
    publisherLateMs: report.maxLateMs,
    windowMs,
    clientCores: (tally.cpuMs - clientCpuMs) / windowMs,
  };
  return { delivery, cpu };
}

/** What is wrong with a run, as sentences; none for a clean one. */
export function deliveryFailures(run: {
  readonly readyCount: number;
  readonly failedCount: number;
  readonly closedCount: number;
  readonly delivery: Delivery | undefined;
}): string[] {
  const { readyCount, failedCount, closedCount, delivery } = run;
  const failures: string[] = [];
  if (failedCount > 0) failures.push(`${failedCount} connections failed, ${readyCount} were ready`);
  if (closedCount > 0) failures.push(`${closedCount} connections were closed`);
  if (delivery === undefined) return failures;
  if (delivery.refusedCount > 0) failures.push(`${delivery.refusedCount} of ${delivery.offeredCount} messages refused`);
  if (delivery.deliveredCount === 0) failures.push('nothing was delivered');
  if (delivery.lostCount > 0) failures.push(`${delivery.lostCount} of ${delivery.expectedCount} messages lost`);
  if (delivery.lostCount < 0) failures.push(`${-delivery.lostCount} messages more than were published`);
  if (delivery.duplicateCount > 0) failures.push(`${delivery.duplicateCount} duplicates`);
  if (delivery.backwardCount > 0) failures.push(`${delivery.backwardCount} messages out of order`);
  return failures;
}
