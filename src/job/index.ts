/**
 * job: what stands between everyone who pushes and this node's comet.
 *
 * The comet takes a push at once or says `full`; it never waits. Whoever pushes in bursts (the HTTP API, Redis, an actor)
 * calls `JobQueue.push`, which hands over directly while the comet keeps up, and otherwise keeps the message in a bounded
 * queue until the buckets have caught up: peak shaving, with an honest `full` when the bound is reached.
 *
 * In a cluster `ClusterPusher` stands in front: it publishes to the nodes concerned. What the bus brings to this node goes
 * through `BusDispatcher` (and `PushIntake` for foreign producers; `HistoryIntake` appends what they push to rooms with history)
 * and `BusInlet` into the same `JobQueue`; `ClusterAdmin`
 * asks other nodes to close or move channels.
 *
 * Who may call: the control thread. Where it starts: `JobQueue.push` (`job-queue.ts`). `fifo.ts` is its list.
 * On shutdown: stop the sources, `await drain(ms)`, `close()`.
 *
 * In a cluster two more stand here. `JobRunner` (role job) drains the durable queue into the inboxes of nodes: `job-runner.ts` holds
 * leases, `job-runner-shard.ts` drains one shard, `job-runner-router.ts` says where a push goes, `job-runner-lanes.ts` keeps
 * what a slow node does not take yet. `InboxReader` (role comet) reads this node's inbox into its `JobQueue`.
 */
export { BusDispatcher, type BusDispatcherParts } from './bus-dispatcher.js';
export { BusInlet, type BusInletOptions, type BusInletParts, type InletGauges } from './bus-inlet.js';
export { ClusterAdmin, type ClusterAdminParts } from './cluster-admin.js';
export {
  ClusterPusher,
  type ClusterPusherGauges,
  type ClusterPusherOptions,
  type ClusterPusherParts,
} from './cluster-pusher.js';
export { HistoryIntake, type HistoryIntakeGauges, type HistoryIntakeParts } from './history-intake.js';
export { InboxReader, type InboxReaderDeps, type InboxReaderGauges } from './inbox-reader.js';
export { commandBytes, type JobGauges, JobQueue, type JobQueueOptions } from './job-queue.js';
export { JobRunner, type JobRunnerDeps, type JobRunnerGauges, type JobRunnerOptions } from './job-runner.js';
export { PushIntake, type PushIntakeParts, shareOf } from './push-intake.js';
