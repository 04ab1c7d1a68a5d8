/**
 * cli/bench: the load clients and the measuring that `halley bench` ships and the repository's own bench (bench/e2e) uses
 * for every server it compares.
 *
 *   wire/   the 64-byte message, goim's packets and WebSocket frames written a second time on purpose (the clients check the
 *           server's bytes against the wire's description, not against the codec that made them), the feed and its pacer
 *   load/   the load client, a process of its own: raw sockets, cheap parsing, order and delays per connection;
 *           load-fleet.ts is its remote control
 *   fed-server.ts, embedded-server.main.ts   a server under test that publishes from its own main thread
 *   http-feed.ts, http-publisher.main.ts     publishing through goim's HTTP API, from a process of its own
 *   delivery.ts, proc.ts                     the measured window, and what the kernel says about it
 *
 * Entries (`*.main.ts`) are forked from dist/. Hot path: LoadConnection's read, down to LoadClient.onMessage.
 */
export {
  type Delivery,
  deliveryFailures,
  drained,
  measureDelivery,
  type Progress,
  type Publication,
} from './delivery.js';
export { FedServer, type FromFedServer, type ToFedServer } from './fed-server.js';
export { feedThroughHttp } from './http-feed.js';
export type { DialectName } from './load/dialect.port.js';
export { LoadFleet, type LoadTarget } from './load/load-fleet.js';
export { SOCKETIO_PATH } from './load/socketio-dialect.js';
export { addCpu, type CpuSpent, cpuBetween, ProcessMeter, readCpu, readRssBytes } from './proc.js';
export { expectedDeliveries, type Feed, type FeedReport, keyOf, messagesOfTarget, roomId } from './wire/feed.js';
export { MESSAGE_BYTES } from './wire/message.layout.js';
export { HEADER_BYTES, makeBatch, makePacket, OPERATION, readInt32, visitPackets } from './wire/packet.js';
export { type Publish, runFeed } from './wire/run-feed.js';
