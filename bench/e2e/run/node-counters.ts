/**
 * Halley's own counters around a measured window: what it claims to have written, beside what the clients saw.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Levels like the heap are brought up to date once per second. */
const REFRESH_MS = 1_200;

export interface NodeCounters {
  /** Records written to rings. */
  readonly pushCount: number;
  readonly doorbellCount: number;
  readonly frameCount: number;
  readonly deliveredCount: number;
  /** JavaScript heap in use of the control thread, and of all buckets together. */
  readonly controlHeapBytes: number;
  readonly bucketHeapBytes: number;
}

interface Stats {
  readonly totals: Readonly<Record<string, number>>;
  readonly threads: readonly Readonly<Record<string, number>>[];
  readonly runtime: { readonly notified: number };
}

function numberIn(row: Readonly<Record<string, number>> | undefined, name: string): number {
  const value = row?.[name];
  if (value === undefined) throw new Error(`/halley/stats has no ${name}`);
  return value;
}

/** Read them once every level is newer than the call. @param httpUrl base of the node's API */
export async function readCounters(httpUrl: string): Promise<NodeCounters> {
  await delay(REFRESH_MS);
  const reply = await fetch(`${httpUrl}/halley/stats`, { signal: AbortSignal.timeout(5_000) });
  const { totals, threads, runtime } = ((await reply.json()) as { data: Stats }).data;
  return {
    pushCount: numberIn(totals, 'pushes'),
    doorbellCount: runtime.notified,
    frameCount: numberIn(totals, 'frames_out'),
    deliveredCount: numberIn(totals, 'messages_delivered'),
    controlHeapBytes: numberIn(threads[0], 'heap_used_bytes'),
    bucketHeapBytes: threads.slice(1).reduce((sum, row) => sum + numberIn(row, 'heap_used_bytes'), 0),
  };
}

/** What a window added. */
export function countersBetween(before: NodeCounters, after: NodeCounters): NodeCounters {
  return {
    pushCount: after.pushCount - before.pushCount,
    doorbellCount: after.doorbellCount - before.doorbellCount,
    frameCount: after.frameCount - before.frameCount,
    deliveredCount: after.deliveredCount - before.deliveredCount,
    controlHeapBytes: after.controlHeapBytes - before.controlHeapBytes,
    bucketHeapBytes: after.bucketHeapBytes - before.bucketHeapBytes,
  };
}
