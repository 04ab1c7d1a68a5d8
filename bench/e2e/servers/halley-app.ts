/**
 * The application module (`--app`) that makes Halley publish in-process, as the peers do: a FEED packet starts the feed in
 * the bucket that holds the runner's connection, everything else is echoed.
 *
 * Threads: loaded once in every bucket.
 */
import type { Agent, Application } from '../../../src/push/index.js';
import type { Feed } from '../wire/feed.js';
import { OPERATION } from '../wire/packet.js';
import { runFeed } from './run-feed.js';

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
