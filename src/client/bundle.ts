/**
 * What stands in the bundle for browsers, `dist/client/halley-client.js`: the client and its transports. KIM's interfaces, for
 * applications that are built anyway, are in index.ts only.
 */
export { jsonCodec } from './body-codec.js';
export { HalleyClient } from './client.js';
export { longPollTransport } from './long-poll-transport.js';
export { sseTransport } from './sse-transport.js';
export { webSocketTransport } from './websocket-transport.js';
