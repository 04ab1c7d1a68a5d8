/**
 * push: the ports where the upper rooms meet. `comet`, `logic` and `job` do not import one another; each implements or
 * calls what stands here, and `main.ts` wires them. The only code is `probePort`, which every listener asks before it
 * listens, and the rules that belong to a port's values.
 *
 *   HTTP API, Redis, actors  --Pusher-->  job (bounded queue)  --CometPort-->  comet (sequencer, buckets)
 *   comet  --SessionStore-->  store (memory or Redis)
 *   comet  --Authenticator-->  logic (open or jwt)
 *   application module (`--app`)  <--app.port-->  comet
 */
export {
  type Acceptance,
  type Acceptor,
  type Agent,
  type Application,
  type Channel,
  type ChannelMap,
  type Conn,
  FRAME_OP,
  type Frame,
  type FrameOp,
  type ListenerReply,
  type MessageListener,
  type Meta,
  type PacketInfo,
  type Server,
  type StateListener,
} from './app.port.js';
export type { AuthAccepted, Authenticator, AuthRefused, AuthRequest, AuthVerdict } from './authenticator.port.js';
export type { ClusterSessions, NodeDirectory, NodeMail, NodeRecord, RoomLinks } from './cluster.port.js';
export type { BusListener, ClusterBus, PushErrorReporter, RoomAppender } from './cluster-bus.port.js';
export type { ChannelSelector, CometPort, DisconnectAdvice, GapScope, RoomCount } from './comet.port.js';
export {
  type ClaimedEntries,
  type DurablePush,
  type DurableQueue,
  type DurableRoomAppender,
  FENCED,
  type Fenced,
  type InboxDelivery,
  type InboxEntry,
  type InboxParcel,
  isIdempotencyId,
  type NodeInbox,
  type NodeRef,
  type PushDoor,
  type QueueEntry,
  type QueueShards,
  type RoomNodes,
  type ShardLease,
} from './durable-queue.port.js';
export type { NodeOnline, OnlineCounts, OnlineSource } from './online.port.js';
export { probePort } from './probe-port.js';
export {
  PUSH_OUTCOME,
  type PushCommand,
  type PushOutcome,
  type PushTarget,
  type RefusalListener,
  type RoomPlace,
} from './push-command.js';
export type { LedgerAppend, LedgerEntry, PushLedger } from './push-ledger.port.js';
export type { Pusher } from './pusher.port.js';
export type { NotReadyReason, ReadinessProbe } from './readiness.port.js';
export type { HistoryMessage, HistoryRange, RangeLimits, RoomHistory } from './room-history.port.js';
export type { MaybePromise, PutSession, Session, SessionOwner, SessionStore } from './session.port.js';
export type {
  ClientMessage,
  DeadLetters,
  EncodedEvent,
  EventBatch,
  EventSink,
  SendVerdict,
  Upstream,
  UpstreamEventType,
  UserChange,
  UserMarks,
} from './upstream.port.js';
