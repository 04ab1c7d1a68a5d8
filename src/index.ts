/**
 * halley as a library: a whole node inside your own program.
 *
 * Listeners run in the buckets (worker threads), so they come in a module: `app` names it, and it exports
 * `app(server: Server)` with KIM's interfaces. What stands here runs on the main thread: start, push, ask, shut down.
 */
export { createServer, type EmbeddedServer, type ServerOptions } from './cli/create-server.js';
export type { NodeAddresses } from './cli/halley-node.js';
export type { Config } from './config/index.js';
export type {
  Acceptance,
  Acceptor,
  Agent,
  Application,
  Channel,
  ChannelMap,
  CometPort,
  Conn,
  Frame,
  FrameOp,
  ListenerReply,
  MessageListener,
  Meta,
  PacketInfo,
  PushCommand,
  PushOutcome,
  PushTarget,
  Server,
  StateListener,
} from './push/index.js';
export { FRAME_OP, PUSH_OUTCOME } from './push/index.js';
