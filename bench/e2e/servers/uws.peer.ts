/**
 * Peer: bare uWebSockets.js. With 0 workers everything is on the main thread; with T workers each holds a share of the
 * sockets on the same port and main hands every message to all of them by postMessage. A merge window above 0 collects
 * the messages of a target and publishes them as one frame.
 *
 * Run: node uws.peer.mjs <port> <workers> <merge window ms>
 */
import { Worker } from 'node:worker_threads';
import type { Feed } from '../wire/feed.js';
import { announceReady, feedReportPacket } from './peer.js';
import { runFeed } from './run-feed.js';
import type { FromUwsWorker, ToUwsWorker } from './uws.worker.js';
import { UwsShard, type UwsSocket } from './uws-shard.js';

const [port, workerCount, mergeWindowMs] = process.argv.slice(2).map(Number) as [number, number, number];

/** Hand a merged batch to the sockets. */
type Spread = (target: string, bodies: readonly Uint8Array[]) => void;

function mergingPublish(spread: Spread): (target: string, body: Uint8Array) => boolean {
  if (mergeWindowMs === 0) {
    return (target, body) => {
      spread(target, [body]);
      return true;
    };
  }
  let pending = new Map<string, Uint8Array[]>();
  return (target, body) => {
    if (pending.size === 0) {
      setTimeout(() => {
        const due = pending;
        pending = new Map();
        for (const [name, bodies] of due) spread(name, bodies);
      }, mergeWindowMs);
    }
    const bodies = pending.get(target);
    if (bodies === undefined) pending.set(target, [body]);
    else bodies.push(body);
    return true;
  };
}

async function serveInline(): Promise<void> {
  const publish = mergingPublish((target, bodies) => shard.publish(target, bodies));
  const onFeed = (socket: UwsSocket, feed: Feed): void => {
    runFeed(feed, publish).then((report) => socket.send(feedReportPacket(report), true));
  };
  const shard = new UwsShard({ port, onFeed });
  await shard.listen();
}

async function serveWithWorkers(): Promise<void> {
  const workers = Array.from(
    { length: workerCount },
    () => new Worker(new URL('./uws.worker.mjs', import.meta.url), { workerData: { port } }),
  );
  const publish = mergingPublish((target, bodies) => {
    const message: ToUwsWorker = { target, bodies };
    for (const worker of workers) worker.postMessage(message);
  });
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise<void>((resolve) => {
          worker.on('message', (message: FromUwsWorker) => {
            if (message.kind === 'listening') resolve();
            else runFeed(message.feed, publish).then((report) => worker.postMessage({ report } satisfies ToUwsWorker));
          });
        }),
    ),
  );
}

await (workerCount === 0 ? serveInline() : serveWithWorkers());
announceReady();
