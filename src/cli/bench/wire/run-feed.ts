/**
 * Runs a feed inside a server: paces it and names each message's target.
 */
import { type Feed, type FeedReport, targetNames } from './feed.js';
import { makeMessage } from './message.layout.js';
import { pace } from './pacer.js';

/** Publish one message to a room id or a device key; the body is the callee's. False: not taken. */
export type Publish = (target: string, body: Uint8Array) => boolean | Promise<boolean>;

/** `onTurn` is called after the last publish of each turn of the event loop, for servers that hand over in batches. */
export function runFeed(feed: Feed, publish: Publish, onTurn?: () => void): Promise<FeedReport> {
  const targets = targetNames(feed);
  return pace({
    ratePerSec: feed.ratePerSec,
    messageCount: feed.messageCount,
    publish: (index, stampNs) =>
      publish(targets[index % feed.targetCount]!, makeMessage(Math.floor(index / feed.targetCount), stampNs)),
    onTurn,
  });
}
