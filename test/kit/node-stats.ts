/** What a running node says about itself: counters per thread, queue, readiness, memory. */
import { readFile } from 'node:fs/promises';
import type { MetricName } from '../../src/telemetry/index.js';
import { get } from './http.js';

export type MetricValues = Readonly<Record<MetricName, number>>;

export interface NodeStats {
  readonly totals: MetricValues;
  /** By thread; 0 is the control thread, the buckets follow. */
  readonly threads: readonly MetricValues[];
  readonly queue: Readonly<Record<'queuedCount' | 'queuedBytes' | 'lostCount' | 'rejectedCount', number>>;
}

export async function nodeStats(httpUrl: string): Promise<NodeStats> {
  const answer = await get(`${httpUrl}/halley/stats`);
  if (answer.code !== 0) throw new Error(`no stats: ${answer.status} ${answer.message}`);
  return answer.data as NodeStats;
}

export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly { readonly reason: string; readonly detail: string }[];
}

export async function readiness(httpUrl: string): Promise<Readiness> {
  const response = await fetch(`${httpUrl}/ready`);
  return { reasons: [], ...((await response.json()) as Partial<Readiness> & { readonly ready: boolean }) };
}

/** Members of a room on the whole node, as goim's online/room tells. */
export async function onlineCount(httpUrl: string, room: string): Promise<number> {
  const [type = '', id = ''] = room.split('://');
  const answer = await get(`${httpUrl}/goim/online/room?${new URLSearchParams({ type, rooms: id })}`);
  if (answer.code !== 0) throw new Error(`no online count: ${answer.status} ${answer.message}`);
  return Number((answer.data as Record<string, number>)[id] ?? 0);
}

/** Resident memory of a process (Linux). */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
