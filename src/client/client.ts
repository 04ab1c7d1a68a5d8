/**
 * The client with the usual transports: WebSocket, then server-sent events, then long-poll.
 */
import { ClientCore } from './client-core.js';
import { type ClientOptions, settingsOf } from './client-options.js';
import { longPollTransport } from './long-poll-transport.js';
import { sseTransport } from './sse-transport.js';
import { webSocketTransport } from './websocket-transport.js';

export interface HalleyClientOptions extends ClientOptions {
  /** The constructor of the WebSocket transport, where the host has none: `ws` in Node 20. */
  readonly WebSocket?: unknown;
}

export class HalleyClient extends ClientCore {
  constructor({ WebSocket, ...options }: HalleyClientOptions) {
    super(settingsOf(options, [webSocketTransport({ WebSocket }), sseTransport(options), longPollTransport(options)]));
  }
}
