/**
 * client: the SDK for browsers and Node.
 *
 * ```ts
 * const client = new HalleyClient({ nodes: ['ws://localhost:3102/sub'], mid: 7, rooms: ['live://1000'], ops: [1000] });
 * client.on('message', ({ op, body, room, offset }) => show(room, body.text()));
 * client.on('gap', ({ room, from, to }) => reload(room, from, to));
 * await client.connect();
 * ```
 *
 * | what | file |
 * |---|---|
 * | the client with the usual transports; the same without any | client.ts; client-core.ts |
 * | what it tells | client-events.ts |
 * | the connection that comes back; when, where, how, and whether it is alive | connection.ts; reconnect-delay.ts, node-list.ts, transport-choice.ts, heartbeat.ts, adaptive-interval.ts |
 * | rooms: membership and recovery, a few questions at a time; the order of one room | rooms.ts, question-queue.ts; room-stream.ts |
 * | ways to a node | websocket-transport.ts, sse-transport.ts, long-poll-transport.ts; tcp-transport.ts (a door of its own) |
 * | KIM's interfaces over it | kim-client.ts |
 *
 * Isomorphic: imports protocol/ and errors/ only, and of them neither MessagePack nor the tables of texts. Time, chance, storage,
 * network and fetch are ports (ports.ts). All files are free of side effects, so that a bundler keeps what is used:
 * `ClientCore` with one transport, say.
 */
export { AdaptiveInterval, DEFAULT_INTERVAL_LIMITS, type IntervalLimits } from './adaptive-interval.js';
export { type BodyCodec, type BodyInput, jsonCodec, type MessageBody } from './body-codec.js';
export { HalleyClient, type HalleyClientOptions } from './client.js';
export { ClientCore } from './client-core.js';
export type { ClientEvents, ClientMessage, ClientState, GapEvent } from './client-events.js';
export { type ClientOptions, type ClientSettings, type HeartbeatOptions, settingsOf } from './client-options.js';
export type { HttpOptions } from './http-session.js';
export {
  type Client,
  type Conn,
  type Dialer,
  type DialerContext,
  type Frame,
  HalleyDialer,
  KIM_OP_CODE,
  KimClient,
  type KimClientOptions,
  type KimOpCode,
} from './kim-client.js';
export { longPollTransport } from './long-poll-transport.js';
export type { NodeSource } from './node-list.js';
export {
  type FetchPort,
  hostNetwork,
  hostStorage,
  hostTimers,
  memoryStorage,
  type NetworkPort,
  type StoragePort,
  type TimerPort,
} from './ports.js';
export type { BackoffOptions } from './reconnect-delay.js';
export type { Reply, RequestOptions } from './requests.js';
export type { AnswerError, Place, RoomResult } from './server-bodies.js';
export { sseTransport } from './sse-transport.js';
export type { Advice, Link, LinkEnd, LinkEvents, Transport } from './transport.port.js';
export { type WebSocketConstructor, webSocketTransport } from './websocket-transport.js';
