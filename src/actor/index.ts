/**
 * actor: the runtime that everything above runs on. Threads that die alone, and actors that find each other on any of them.
 *
 * A node has one control thread (0) and N worker threads on a fixed Piscina pool. Each owns one broadcast ring and reads
 * all others (src/ring). `ThreadRuntime` is a thread's share in that: it turns when the doorbell rings, takes a bounded
 * number of records from every ring, gives **raw kinds** (16 to 255) to the room that registered them while the memory is
 * held, and keeps kinds 0 to 15 for actors. `ActorSystem` sits on top: a message to an actor of the same thread goes into
 * its mailbox as it is; to another thread msgpackr writes it straight into the ring. It is decoded into the mailbox during
 * the reading and received after it, so application code never runs while anybody waits for memory.
 *
 * What holds: tell() is at-most-once, ordered per pair of threads. ask() is answered, fails with the actor, meets its
 * deadline, or is lost with its thread, at once. Mailboxes, rings and the queue behind a full ring are bounded, and what
 * falls out is a counted dead letter. A throw in receive() costs that actor (`Supervision`). Keyed actors live on one
 * thread at a time; the order between two messages to one key is not kept across a move of that key.
 *
 * What kills a thread is only what cannot be attributed; `crash.ts` has the rule and the reason. `ThreadPool` replaces
 * it: upper rooms hear onThreadLost, then onThreadReady with the next incarnation.
 *
 * Start reading at `thread-pool.ts`, then `thread.worker.ts`, `thread-runtime.ts`, `actor-system.ts`. The hot path is
 * `ActorRef.tell` -> `Outbox.send` -> ring -> `ThreadRuntime` turn -> `ActorSystem.onRecord` -> `ActorCell.run`.
 */
export {
  Actor,
  type ActorContext,
  type ActorFailure,
  type ActorOptions,
  type ActorSource,
  type ActorSystemPort,
  type ActorTypeStats,
  type KeyedTypeOptions,
  type SpawnOptions,
} from './actor.js';
export { ActorRef, type Addressable, type AskOptions } from './actor-ref.js';
export { ActorSystem, type ActorSystemOptions, type ActorSystemStats } from './actor-system.js';
export { asError, type ProcessPort, ThreadCrash } from './crash.js';
export { DEADLINE_TICK_MS, Deadlines, type DeadlineTarget } from './deadlines.js';
export { FIRST_RAW_KIND, LAST_RAW_KIND } from './envelope.layout.js';
export { type AbortableResponse, type Callback, type GuardSink, guard, guardHttp } from './guard.js';
export type { ErrorSink, RawHandler } from './inlet.js';
export type { DeadLetter, DeadLetterOffice, DeadLetterReason } from './letter.js';
export { DEFAULT_MAILBOX_CAPACITY, type MailboxOptions, type MailboxOverflow } from './mailbox.js';
export { DEFAULT_SUPERVISION, type Supervision } from './supervision.js';
export type { StartThread, ThreadContext } from './thread-context.js';
export { allocateThreadMemory, MAX_THREADS, type ThreadMemory, type ThreadMemoryOptions } from './thread-memory.js';
export { ThreadPool, type ThreadPoolOptions, type ThreadPoolStatus, type ThreadStatus } from './thread-pool.js';
export { ThreadRuntime } from './thread-runtime.js';
export { THREAD_STATE, type ThreadState, type ThreadStateName, ThreadStates } from './thread-state.layout.js';
