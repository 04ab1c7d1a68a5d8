/** The cheapest test for leaks: after churn nothing is counted any more. */
import { eventually } from './eventually.js';
import { type NodeStats, nodeStats } from './node-stats.js';

/** Wait until the node counts no channel, session or room; a bucket counts its rooms once a second. */
export function nodeEmpty(httpUrl: string): Promise<NodeStats> {
  return eventually(
    async () => {
      const stats = await nodeStats(httpUrl);
      const { channels, sessions, rooms } = stats.totals;
      return channels === 0 && sessions === 0 && rooms === 0 ? stats : undefined;
    },
    10_000,
    'channels, sessions and rooms at zero',
  );
}
