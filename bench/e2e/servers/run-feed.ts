/**
 * Runs a feed inside a server: paces it and names each message's target.
 */
import { type Feed, type FeedReport, keyOf, roomId } from '../wire/feed.js';
import { makeMessage } from '../wire/message.layout.js';
import { pace } from '../wire/pacer.js';

/** Publish one message to a room id or a device key; the body is the callee's. False: not taken. */
export type Publish = (target: string, body: Uint8Array) => boolean | Promise<boolean>;

export function runFeed(feed: Feed, publish: Publish): Promise<FeedReport> {
  const nameOf = feed.target === 'room' ? roomId : keyOf;
  const targets = Array.from({ length: feed.targetCount }, (_, index) => nameOf(index));
  return pace({
    ratePerSec: feed.ratePerSec,
    messageCount: feed.messageCount,
    publish: (index, stampNs) =>
      publish(targets[index % feed.targetCount]!, makeMessage(Math.floor(index / feed.targetCount), stampNs)),
  });
}
