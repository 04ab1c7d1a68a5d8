/**
 * Halley's application module (`--app`): everything is echoed, and a FEED packet (`--door app`) starts the feed in the
 * bucket that holds the runner's connection. From there every publish crosses bucket, control thread, bucket, and is
 * answered: what an application inside the buckets pays.
 *
 * Threads: loaded once in every bucket.
 */
import { type Feed, OPERATION, runFeed } from '../../../src/cli/bench/index.js';
import type { Agent, Application } from '../../../src/push/index.js';

export const app: Application = (server) => {
  const startFeed = async (runner: Agent, feed: Feed): Promise<void> => {
    const report = await runFeed(feed, async (target, body) => {
      const outcome = await server.publish({
        target: feed.target === 'room' ? { kind: 'rooms', rooms: [target] } : { kind: 'keys', keys: [target] },
        op: OPERATION.PUSHED,
        body,
      });
      return outcome === 'ok';
    });
    runner.push(JSON.stringify(report), OPERATION.FEED_REPORT);
  };
  server.setMessageListener({
    receive: (agent, payload, packet) => {
      if (packet.op !== OPERATION.FEED) return payload;
      void startFeed(agent, JSON.parse(new TextDecoder().decode(payload)) as Feed);
      return undefined;
    },
  });
};
