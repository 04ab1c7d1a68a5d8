/**
 * comet: where clients are connected.
 *
 * On the control thread `CometControl` keeps who is where and `Sequencer` numbers every push and writes it once into the
 * control thread's ring. In every bucket (worker thread) `Bucket` owns sockets, rooms and watch sets, and turns what the
 * ring brings into as few socket writes as possible.
 *
 *   push -> Sequencer.pushRoom -> ring -> Bucket -> FanoutGroup (one per room and watch set) -> uWS topic -> members
 *
 * A client's way in: WsListener or tcp/TcpListener -> Handshake (auth, session, rooms) -> PacketHandler. Slow clients: Subscriptions.
 * Hot path: `sequencer.ts`, `bucket/fanout-group.ts`, `bucket/direct-outbox.ts`. Wired by `cli/halley-node.ts` and
 * `cli/bucket-thread.ts`; nobody else imports this folder.
 */
export { Bucket, type BucketParts } from './bucket/bucket.js';
export type { BucketData, BucketMemory, BucketOptions } from './bucket/bucket-options.js';
export {
  type CometClusterParts,
  CometControl,
  type CometControlOptions,
  type CometControlParts,
} from './comet-control.js';
export { type FallbackNode, newFallbackSecret } from './http/http-door.js';
export { AddressCounts, allocateAddressCounts } from './limits/address-counts.js';
export { checkOrigins, OriginList } from './limits/origin-list.js';
export { requireProxyHeaders } from './limits/uws-proxy-probe.js';
export { CometOnlineSource, type OnlineSourceParts } from './online-source.js';
export { allocateRoomCounts, RoomCounts } from './room-counts.js';
export type { RoomRecoveryOptions } from './room-recovery.js';
export { RoomSequence, type RoomSequenceLinks, type RoomSequenceOptions } from './room-sequence.js';
export { Sequencer, type SequencerOptions } from './sequencer.js';
export { LONE_TCP_THREAD, sharesTcpPort } from './tcp/port-sharing.js';
export {
  type LoadedCertificate,
  type NamedPaths,
  type TlsCertificate,
  TlsContexts,
  TlsFiles,
  type TlsFilesOptions,
  type TlsMinVersion,
  type TlsSet,
} from './tls/index.js';
