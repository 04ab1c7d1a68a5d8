/**
 * One worker of the threaded uWS peer: its share of the sockets, fed by the main thread.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { Feed, FeedReport } from '../wire/feed.js';
import { feedReportPacket } from './peer.js';
import { UwsShard, type UwsSocket } from './uws-shard.js';

export type ToUwsWorker =
  | { readonly target: string; readonly bodies: readonly Uint8Array[] }
  /** For the connection that asked for the feed. */
  | { readonly report: FeedReport };

export type FromUwsWorker = { readonly kind: 'listening' } | { readonly kind: 'feed'; readonly feed: Feed };

let runner: UwsSocket | undefined;
const shard = new UwsShard({
  port: (workerData as { port: number }).port,
  onFeed: (socket, feed) => {
    runner = socket;
    parentPort?.postMessage({ kind: 'feed', feed } satisfies FromUwsWorker);
  },
});
parentPort?.on('message', (message: ToUwsWorker) => {
  if ('report' in message) runner?.send(feedReportPacket(message.report), true);
  else shard.publish(message.target, message.bodies);
});
await shard.listen();
parentPort?.postMessage({ kind: 'listening' } satisfies FromUwsWorker);
