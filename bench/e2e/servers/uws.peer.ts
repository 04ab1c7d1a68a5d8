/**
 * Peer: bare uWebSockets.js. With 0 workers everything is on the main thread; with T workers each holds a share of the
 * sockets on the same port. A merge window above 0 collects the messages of a target and publishes them as one frame.
 *
 * Hand-over to workers: `sharded` posts one transferred buffer per worker and turn, to the workers that hold the key or
 * members of the room; `broadcast` posts every message to every worker, as programs usually do.
 *
 * Run: node uws.peer.mjs <port> <workers> <merge window ms> <sharded|broadcast>
 */
import { Worker } from 'node:worker_threads';
import { makeBatch, OPERATION } from '../../../src/cli/bench/index.js';
import { servePeer } from './peer.js';
import { type ShardBatch, ShardBatchWriter } from './shard-batch.js';
import { ShardMap } from './shard-map.js';
import type { FromUwsWorker, ToUwsWorker } from './uws.worker.js';
import { UwsShard } from './uws-shard.js';

const [port, workerCount, mergeWindowMs] = process.argv.slice(2, 5).map(Number) as [number, number, number];
const isSharded = process.argv[5] !== 'broadcast';

/** Hand a frame to the sockets. */
type Spread = (target: string, frame: Uint8Array) => void;

function publisher(spread: Spread): (target: string, body: Uint8Array) => boolean {
  if (mergeWindowMs === 0) {
    return (target, body) => {
      spread(target, makeBatch(OPERATION.PUSHED, [body]));
      return true;
    };
  }
  let pending = new Map<string, Uint8Array[]>();
  return (target, body) => {
    if (pending.size === 0) {
      setTimeout(() => {
        const due = pending;
        pending = new Map();
        for (const [name, bodies] of due) spread(name, makeBatch(OPERATION.PUSHED, bodies));
      }, mergeWindowMs);
    }
    const bodies = pending.get(target);
    if (bodies === undefined) pending.set(target, [body]);
    else bodies.push(body);
    return true;
  };
}

async function serveInline(): Promise<void> {
  const shard = new UwsShard(port);
  await shard.listen();
  servePeer(publisher((target, frame) => shard.publish(target, frame)));
}

async function serveWithWorkers(): Promise<void> {
  const map = new ShardMap(workerCount);
  const workers = Array.from(
    { length: workerCount },
    () => new Worker(new URL('./uws.worker.mjs', import.meta.url), { workerData: { port, isSharded } }),
  );
  const post = (worker: number, batch: ShardBatch): void =>
    workers[worker]!.postMessage(batch satisfies ToUwsWorker, [batch.bytes]);
  let syncedCount = 0;
  let onSynced: () => void = () => undefined;
  /** The map is up to date: a client's auth is answered before the main thread hears of it. */
  const synced = (): Promise<void> =>
    new Promise((resolve) => {
      syncedCount = 0;
      onSynced = resolve;
      for (const worker of workers) worker.postMessage('sync' satisfies ToUwsWorker);
    });
  const listening = workers.map(
    (worker, index) =>
      new Promise<void>((resolve) => {
        worker.on('message', (message: FromUwsWorker) => {
          if (message.kind === 'listening') resolve();
          else if (message.kind === 'synced') {
            syncedCount += 1;
            if (syncedCount === workerCount) onSynced();
          } else for (const change of message.changes) map.apply(index, change);
        });
      }),
  );
  await Promise.all(listening);
  if (!isSharded) {
    const spread: Spread = (target, frame) => {
      for (let worker = 0; worker < workerCount; worker++) {
        const bytes = new Uint8Array(frame).buffer;
        post(worker, { targets: [target], ends: [frame.length], bytes });
      }
    };
    servePeer(publisher(spread), { beforeFeed: synced });
    return;
  }
  const writers = workers.map(() => new ShardBatchWriter());
  const flush = (): void => {
    writers.forEach((writer, worker) => {
      if (!writer.isEmpty) post(worker, writer.take());
    });
  };
  const spread: Spread = (target, frame) => map.visitHolders(target, (worker) => writers[worker]!.add(target, frame));
  const publish = publisher((target, frame) => {
    spread(target, frame);
    // Windows end in a timer of their own, not in a turn of the pacer.
    if (mergeWindowMs > 0) queueMicrotask(flush);
  });
  servePeer(publish, { beforeFeed: synced, onTurn: flush });
}

await (workerCount === 0 ? serveInline() : serveWithWorkers());
