/**
 * job: what stands between everyone who pushes and this node's comet.
 *
 * The comet takes a push at once or says `full`; it never waits. Whoever pushes in bursts (the HTTP API, Redis, an actor)
 * calls `JobQueue.push`, which hands over directly while the comet keeps up, and otherwise keeps the message in a bounded
 * queue until the buckets have caught up: peak shaving, with an honest `full` when the bound is reached.
 *
 * In a cluster `ClusterPusher` stands in front: it publishes to the nodes concerned. What the bus brings to this node goes
 * through `BusDispatcher` (and `PushIntake` for foreign producers) and `BusInlet` into the same `JobQueue`; `ClusterAdmin`
 * asks other nodes to close or move channels.
 *
 * Who may call: the control thread. Where it starts: `JobQueue.push` (`job-queue.ts`). `fifo.ts` is its list.
 * On shutdown: stop the sources, `await drain(ms)`, `close()`.
 */
export { BusDispatcher, type BusDispatcherParts } from './bus-dispatcher.js';
export { BusInlet, type BusInletOptions, type BusInletParts, type InletGauges } from './bus-inlet.js';
export { ClusterAdmin, type ClusterAdminParts } from './cluster-admin.js';
export { ClusterPusher, type ClusterPusherOptions, type ClusterPusherParts } from './cluster-pusher.js';
export { commandBytes, type JobGauges, JobQueue, type JobQueueOptions } from './job-queue.js';
export { PushIntake, type PushIntakeParts, shareOf } from './push-intake.js';
