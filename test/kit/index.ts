/**
 * kit: what the end-to-end tests share: the program as a child process, a wire client, a raw socket, HTTP calls, counters,
 * waiting.
 */
export { ASK_BUCKET_OP, connectToBucket } from './bucket-clients.js';
export { type Authority, type CertificateFiles, type CertificateOptions, makeAuthority } from './certificates.js';
export {
  type Door,
  DoorClient,
  type DoorEnd,
  type DoorNode,
  TOLD_NOTHING,
} from './door-client.js';
export { DOORS } from './door-links.js';
export { eventually } from './eventually.js';
export { GoimBenchClient, GoimTcpSocket, type TcpPacket, tcpPacket } from './goim-tcp-client.js';
export {
  type ClusterNode,
  type HalleyCluster,
  type HalleyClusterOptions,
  startHalleyCluster,
} from './halley-cluster.js';
export { type HalleyOptions, type HalleyProcess, runHalley, startHalley } from './halley-process.js';
export { type ApiAnswer, get, post, pushRoom } from './http.js';

export { type IdServerProcess, startIdServer, stopIdServer } from './id-server.js';
export { nodeEmpty } from './node-empty.js';

export {
  type MetricValues,
  type NodeStats,
  nodeStats,
  onlineCount,
  type Readiness,
  readiness,
  residentBytes,
} from './node-stats.js';
export { clientFrame, FRAME, type FrameOptions, RawSocket, type ReceivedFrame } from './raw-socket.js';
export {
  type ProxiedRedisCluster,
  type RedisClusterOptions,
  type RedisClusterServers,
  startProxiedRedisCluster,
  startRedisCluster,
} from './redis-cluster.js';
export { type RedisProxy, startRedisProxy } from './redis-proxy.js';
export { type RedisSentinelServers, startRedisSentinel } from './redis-sentinel.js';
export { freePort, type RedisServer, type RedisServerOptions, startRedis } from './redis-server.js';
export { ownerOf, SlotMove, slotOf } from './redis-slots.js';
export { type RedisTlsServer, startRedisTls } from './redis-tls.js';
export { type ReceivedGap, TallyClient } from './tally-client.js';
export { type Handshake, handshake, makeTlsDirectory, secureCall, type TlsDirectory, tlsEnv } from './tls.js';
export { type ReceivedMessage, type ReceivedPacket, WireClient } from './wire-client.js';
