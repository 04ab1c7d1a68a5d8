/**
 * job: what stands between everyone who pushes and this node's comet.
 *
 * The comet takes a push at once or says `full`; it never waits. Whoever pushes in bursts (the HTTP API, Redis, an actor)
 * calls `JobQueue.push`, which hands over directly while the comet keeps up, and otherwise keeps the message in a bounded
 * queue until the buckets have caught up: peak shaving, with an honest `full` when the bound is reached.
 *
 * Who may call: the control thread. Where it starts: `JobQueue.push` (`job-queue.ts`). `fifo.ts` is its list.
 * On shutdown: stop the sources, `await drain(ms)`, `close()`.
 */
export { commandBytes, type JobGauges, JobQueue, type JobQueueOptions } from './job-queue.js';
