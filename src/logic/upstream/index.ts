/**
 * upstream: what clients do, told to a backend in whatever language it is written.
 *
 *   comet --Upstream--> UpstreamEvents --(one JSON text per event)--> EventLanes --batches--> WebhookSink, RedisEventStream
 *                            |                                            |
 *                       UserPresence (online, offline)              dead letters (a file, or Redis)
 *
 * Client messages come from the buckets through their rings and are refused there, at the client, while the lanes are full:
 * nothing is taken that cannot be kept. Who may call: `cli/upstream-wiring.ts` wires it, comet tells it. The hot path starts at
 * `UpstreamEvents.message`.
 */
export { DEAD_LETTER_FILE, DeadLetterFile, deadLetterLine, OLDER_DEAD_LETTER_FILE } from './dead-letter-file.js';
export { EventLanes, type EventLanesOptions, type EventLanesParts, type LaneGauges } from './event-lanes.js';
export { signature } from './signature.js';
export { UpstreamEvents, type UpstreamEventsOptions, type UpstreamGauges } from './upstream-events.js';
export type { ClusterPresence } from './user-presence.js';
export { type WebhookOptions, WebhookSink } from './webhook-sink.js';
