/** `/halley/stats`, the counters of a running node. */
import { eventually } from './eventually.js';
import { get } from './http.js';

export interface Stats {
  readonly totals: Readonly<Record<string, number>>;
  readonly threads: readonly Readonly<Record<string, number>>[];
  readonly queue: { readonly queuedCount: number; readonly queuedBytes: number; readonly lostCount: number };
}

export async function readStats(httpUrl: string): Promise<Stats> {
  return (await get(`${httpUrl}/halley/stats`)).data as Stats;
}

/** Wait until no channel, session or room is left: the cheapest test for leaks after churn. */
export function nodeEmpty(httpUrl: string): Promise<Stats> {
  return eventually(
    async () => {
      const stats = await readStats(httpUrl);
      const { channels, sessions, rooms } = stats.totals;
      return channels === 0 && sessions === 0 && rooms === 0 ? stats : undefined;
    },
    10_000,
    'channels, sessions and rooms at zero',
  );
}
