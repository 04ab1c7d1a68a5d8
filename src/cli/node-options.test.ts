import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config/index.js';
import { SERVICE_MACHINE_BASE } from '../id/index.js';
import {
  bucketOptionsOf,
  MACHINE_BLOCK_SIZE,
  machineBaseOf,
  type NodeCounts,
  nodeDescriptionOf,
  nodePlaceOf,
  nodeRecordOf,
  serverIdOf,
  tcpUrlsOf,
} from './node-options.js';

function configOf(toml: string) {
  return loadConfig({ argvFlags: { config: 'a.toml' }, env: {}, readFile: () => toml }).config;
}

const PORTS = { tcpPort: 3_101, wsPort: 3_102, wssPort: 0, tcpTlsPort: 0 };

describe('the server id', () => {
  it('is the configured one, or the name of the host', () => {
    expect(serverIdOf(configOf('server_id = "node-a"'))).toBe('node-a');
    expect(serverIdOf(configOf(''))).toBe(hostname());
  });
});

describe('the machine ids of the threads', () => {
  it('begin at the configured block', () => {
    expect([machineBaseOf(0, 4), machineBaseOf(3, 16), machineBaseOf(55, 16)]).toEqual([0, 48, 880]);
  });

  it('are never those of the id service: the last block ends where they begin', () => {
    expect(machineBaseOf(55, MACHINE_BLOCK_SIZE) + MACHINE_BLOCK_SIZE).toBe(SERVICE_MACHINE_BASE);
    expect(() => configOf('[id]\nmachine_block = 56')).toThrow('machine_block');
  });

  it('of a node with more threads than a block has take two, from an even one on', () => {
    expect(machineBaseOf(2, MACHINE_BLOCK_SIZE + 1)).toBe(32);
    expect(() => machineBaseOf(3, MACHINE_BLOCK_SIZE + 1)).toThrow(
      expect.objectContaining({ code: 'MACHINE_BLOCK_ODD' }),
    );
  });
});

describe('the options of a bucket', () => {
  it('are those of the configuration under the names that the bucket uses', () => {
    const options = bucketOptionsOf(
      configOf(`
        host = "127.0.0.1"
        [auth]
        mode = "jwt"
        jwt_secret = "0123456789abcdef0123456789abcdef"
        handshake_timeout_ms = 501
        [heartbeat]
        interval_s = 52
        max_misses = 3
        [limits]
        body_bytes = 4001
        request_body_bytes = 65001
        room_id_bytes = 101
        rooms_per_channel = 11
        watch_ops = 12
        pre_auth_bytes = 8001
        pre_auth_packets = 13
        channels_per_bucket = 1001
        allowed_origins = ["https://example.com"]
        connections_per_ip = 21
        connects_per_s = 22
        connects_burst = 23
        messages_per_s = 24
        messages_burst = 25
        bytes_per_s = 26
        bytes_burst = 70001
        rate_action = "drop"
        proxy_protocol = "v2"
        [http]
        trusted_proxies = ["10.0.0.0/8"]
        forwarded_header = "forwarded"
        [reconnect]
        window_ms = 27
        [slow]
        max_backpressure_bytes = 100001
        close_after_ms = 5001
        extended_close_after_ms = 5002
        [fallback]
        replay_bytes = 40001
        poll_max_wait_ms = 20001
        [fanout]
        batch_max_messages = 14
        batch_max_bytes = 2048
        max_delay_ms = 15
        duty_threshold = 0.6
        duty_target = 0.3
        [bucket]
        heap_refuse_ratio = 0.7
        [shutdown]
        drain_ms = 16
        [history]
        rooms = ["live:200:300"]
        [log]
        level = "warn"
      `),
      { tcpPort: 4_710, wsPort: 4_711, wssPort: 0, tcpTlsPort: 0 },
      'file:///app.js',
      undefined,
    );
    expect(options).toEqual({
      host: '127.0.0.1',
      port: 4_711,
      tcpPort: 4_710,
      app: 'file:///app.js',
      auth: { mode: 'jwt', jwtSecret: '0123456789abcdef0123456789abcdef' },
      handshakeTimeoutMs: 501,
      heartbeatIntervalS: 52,
      heartbeatMisses: 3,
      bodyBytes: 4_001,
      requestBodyBytes: 65_001,
      roomIdBytes: 101,
      roomsPerChannel: 11,
      watchOps: 12,
      preAuthBytes: 8_001,
      preAuthPackets: 13,
      channelsPerBucket: 1_001,
      maxBackpressureBytes: 100_001,
      slowCloseAfterMs: 5_001,
      slowExtendedCloseAfterMs: 5_002,
      reconnectWindowMs: 27,
      limits: {
        allowedOrigins: ['https://example.com'],
        connectionsPerIp: 21,
        connectsPerSec: 22,
        connectsBurst: 23,
        packetsPerSec: 24,
        packetsBurst: 25,
        bytesPerSec: 26,
        bytesBurst: 70_001,
        rateAction: 'drop',
        proxyProtocol: 'v2',
        trustedProxies: ['10.0.0.0/8'],
        forwardedHeader: 'forwarded',
      },
      fallbackReplayBytes: 40_001,
      fallbackPollMaxWaitMs: 20_001,
      batchMaxMessages: 14,
      batchMaxBytes: 2_048,
      maxDelayMs: 15,
      dutyThreshold: 0.6,
      dutyTarget: 0.3,
      heapRefuseRatio: 0.7,
      drainMs: 16,
      hasHistory: true,
      logLevel: 'warn',
    });
  });
});

describe('what a node says about itself', () => {
  it('names its own host where nothing else is configured', () => {
    const description = nodeDescriptionOf(configOf('server_id = "node-a"'), PORTS, '1.2.3');
    expect(description).toMatchObject({
      serverId: 'node-a',
      hostname: hostname(),
      domain: '127.0.0.1',
      addrs: ['127.0.0.1'],
      tcpPort: 3_101,
      wsPort: 3_102,
      version: '1.2.3',
      listenUrls: ['ws://127.0.0.1:3102/sub', 'tcp://127.0.0.1:3101'],
    });
  });

  it('names what clients are to use instead, and writes an IPv6 host as URLs have it', () => {
    const config = configOf(`
      host = "::1"
      [node]
      default_domain = "conn.example.org"
      addrs = ["10.0.0.1", "10.0.0.2"]
    `);
    const ports = { tcpPort: 3_101, wsPort: 3_102, wssPort: 3_103, tcpTlsPort: 3_104 };
    expect(nodeDescriptionOf(config, ports, '1')).toMatchObject({
      tcpTlsPort: 3_104,
      domain: 'conn.example.org',
      addrs: ['10.0.0.1', '10.0.0.2'],
      listenUrls: ['ws://[::1]:3102/sub', 'wss://[::1]:3103/sub', 'tcp://[::1]:3101', 'tls://[::1]:3104'],
    });
  });
});

describe('the addresses of TCP', () => {
  it('name what is open, each form with a scheme of its own', () => {
    expect(tcpUrlsOf('::1', { tcpPort: 3_101, tcpTlsPort: 3_104 })).toEqual({
      tcpUrl: 'tcp://[::1]:3101',
      tcpTlsUrl: 'tls://[::1]:3104',
    });
    expect(tcpUrlsOf('127.0.0.1', { tcpPort: 0, tcpTlsPort: 0 })).toEqual({ tcpUrl: undefined, tcpTlsUrl: undefined });
  });
});

describe('what a node tells the cluster', () => {
  const COUNTS: NodeCounts = {
    nodeEpoch: 7,
    version: '1.2.3',
    tcpPort: 0,
    wsPort: 3_102,
    wssPort: 0,
    tcpTlsPort: 0,
    httpPort: 3_111,
    connCount: 5,
    ipCount: 4,
    isDraining: true,
    updatedMs: 1_234,
  };

  it('is its configuration, and what it counts', () => {
    const config = configOf(`
      server_id = "node-a"
      [node]
      region = "bj"
      zone = "bj1"
      weight = 20
      capacity = 50000
      latitude = "39.9042"
      longitude = "-116.4"
      addrs = ["198.51.100.1", "a.example.org"]
    `);
    expect(nodeRecordOf(config, COUNTS)).toEqual({
      ...COUNTS,
      serverId: 'node-a',
      hostname: hostname(),
      addrs: ['198.51.100.1', 'a.example.org'],
      // Where it binds: other nodes do not go through what stands in front of it.
      forwardHost: '127.0.0.1',
      region: 'bj',
      zone: 'bj1',
      latitude: 39.9042,
      longitude: -116.4,
      weight: 20,
      capacity: 50_000,
      roles: ['comet', 'logic', 'job'],
    });
  });

  it('is where it listens where no address is configured, unless nobody could connect there', () => {
    const withHost = (host: string) =>
      configOf(`
        host = "${host}"
        [auth]
        mode = "jwt"
        jwt_secret = "0123456789abcdef0123456789abcdef"
        [http]
        token = "t"
      `);
    const addrs = (host: string) => nodeRecordOf(withHost(host), COUNTS).addrs;
    expect([addrs('10.0.0.1'), addrs('0.0.0.0'), addrs('::')]).toEqual([['10.0.0.1'], [], []]);
  });

  it('has no place where none is configured, and refuses half a place or a wrong one', () => {
    expect(nodePlaceOf(configOf(''))).toBeUndefined();
    expect(nodeRecordOf(configOf(''), COUNTS)).toMatchObject({ latitude: undefined, longitude: undefined });
    for (const place of ['latitude = "1"', 'longitude = "1"', 'latitude = "91"\nlongitude = "0"']) {
      expect(() => nodePlaceOf(configOf(`[node]\n${place}`))).toThrow(
        expect.objectContaining({ code: 'NODE_PLACE_INVALID' }),
      );
    }
  });
});
