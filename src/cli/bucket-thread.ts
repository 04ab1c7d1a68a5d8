/**
 * What a worker thread of the pool runs: one bucket, wired.
 *
 * Threads: worker threads; loaded by the actor runtime's thread entry.
 */
import type { ThreadContext } from '../actor/index.js';
import { systemClock } from '../clock/index.js';
import { AddressCounts, Bucket, type BucketData, RoomCounts } from '../comet/index.js';
import { Snowflake } from '../id/index.js';
import { createAuthenticator } from '../logic/auth.js';
import { pinoLogger, stormGuard, ThreadCounters } from '../telemetry/index.js';
import { RuntimeCounters } from './runtime-counters.js';

/** Start the bucket of this thread; resolves when its port is open. */
export async function startThread(context: ThreadContext): Promise<void> {
  const { options, memory, allEpoch, fallback } = context.workerData as BucketData;
  const target = pinoLogger({ level: options.logLevel, fields: { thread: context.threadIndex } });
  const log = stormGuard({ target, nowMs: () => systemClock.monotonicMs() });
  const counters = new ThreadCounters(memory.counters, context.threadIndex);
  const { auth } = options;
  const bucket = new Bucket(options, {
    runtime: context.runtime,
    clock: systemClock,
    ids: new Snowflake(memory.ids, context.threadIndex),
    counters,
    roomCounts: new RoomCounts(memory.roomCounts, context.threadCount),
    authenticator: createAuthenticator(
      auth.mode === 'jwt' ? { mode: 'jwt', secret: auth.jwtSecret } : { mode: 'open' },
    ),
    log: log.logger,
    acceptGate: new Int32Array(memory.acceptGate),
    upstreamGate: memory.upstreamGate === undefined ? undefined : new Int32Array(memory.upstreamGate),
    addressCounts:
      memory.addressCounts === undefined ? undefined : new AddressCounts(memory.addressCounts, context.threadIndex),
    allEpoch,
    incarnation: context.incarnation,
    fallback: { ...fallback, ports: new Int32Array(memory.fallbackPorts) },
    eachSecond: () => {
      log.sweep();
      runtimeCounters.sample();
    },
  });
  const runtimeCounters = new RuntimeCounters(counters, {
    runtime: context.runtime,
    system: context.system,
    discards: [context.system.discarded, ...bucket.discards],
  });
  context.onDying(() => bucket.makeInert());
  context.onCloseSockets(() => bucket.shutDown());
  context.onStop(async () => {
    await bucket.stop();
    log.flush();
  });
  await bucket.start();
}
