/**
 * One worker of the threaded uWS peers: its share of the sockets, fed by the main thread, which it tells who is here.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type ShardBatch, visitBatch } from './shard-batch.js';
import type { ShardChange } from './shard-map.js';
import { UwsShard } from './uws-shard.js';

export type ToUwsWorker = ShardBatch | 'sync';
export type FromUwsWorker =
  | { readonly kind: 'listening' }
  /** Answers 'sync': every change up to now has been told. */
  | { readonly kind: 'synced' }
  | { readonly kind: 'changes'; readonly changes: readonly ShardChange[] };

const { port, isSharded } = workerData as { port: number; isSharded: boolean };

let changes: ShardChange[] = [];
function tellChanges(): void {
  if (changes.length > 0) parentPort?.postMessage({ kind: 'changes', changes } satisfies FromUwsWorker);
  changes = [];
}

/** Many in one message: a storm of connections must not be one message each. */
function changed(change: ShardChange): void {
  if (changes.push(change) === 1) setImmediate(tellChanges);
}

const shard = new UwsShard(
  port,
  isSharded
    ? {
        onKey: (key, isHere) => changed(['key', key, isHere]),
        onMember: (room, isHere) => changed(['room', room, isHere]),
      }
    : undefined,
);
const publish = (target: string, frame: Uint8Array): void => shard.publish(target, frame);
parentPort?.on('message', (message: ToUwsWorker) => {
  if (message !== 'sync') {
    visitBatch(message, publish);
    return;
  }
  tellChanges();
  parentPort?.postMessage({ kind: 'synced' } satisfies FromUwsWorker);
});
await shard.listen();
parentPort?.postMessage({ kind: 'listening' } satisfies FromUwsWorker);
