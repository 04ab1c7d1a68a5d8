/**
 * The one table of options. A row gives default, range and meaning; its name carries the unit. To add an option, add a
 * row here and run `npm run docs`: type, validation, error text, help line, env name and README row follow from it.
 *
 * Bounds are where a value stops making sense, not where it stops being wise. Rules between options: check-config.ts.
 */
import { choice, int, list, number, secret, text } from './option-spec.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const PORT = [0, 65_535] as const;
const WITH_FLAG = { hasFlag: true } as const;
/** What uWS takes as one WebSocket message (128 KiB, fixed at build) less goim's header. */
const MAX_CLIENT_BODY_BYTES = 128 * KIB - 16;
/** 2026-01-01T00:00:00Z: an epoch must lie in the past, or ids would be negative. */
const MAX_ID_EPOCH_MS = 1_767_225_600_000;

/** Every kind of upstream event: the values of `upstream.events`, and the `type` of an event. */
export const UPSTREAM_EVENT_TYPES = [
  'message',
  'connect',
  'disconnect',
  'online',
  'offline',
  'room_occupied',
  'room_empty',
] as const;

// Ports: a port number says where and never whether, 0 being any free one. Which ports are open is said once for all of them: the
// WebSocket's always and TCP's where `tcp` is on, each plain where `tls.plain` is on and with TLS where there is a certificate.

/** Options outside any group. */
export const ROOT_OPTIONS = {
  server_id: text('', [0, 255], 'Name of this node, unique in the cluster; empty takes the host name.', {
    hasFlag: true,
    visibleAscii: true,
  }),
  buckets: int(0, [0, 31], 'Worker threads that hold connections; 0 starts one per core.', WITH_FLAG),
  host: text('127.0.0.1', [1, 255], 'Address that all ports bind to; anything but loopback needs authentication.', {
    hasFlag: true,
    visibleAscii: true,
  }),
  ws_port: int(3102, PORT, 'Port of the WebSocket and its HTTP fallbacks; 0 takes any free port.', WITH_FLAG),
  tcp: choice(
    'on',
    ['on', 'off'],
    'off: nothing listens on bare TCP, neither tcp_port nor tls.tcp_port is opened.',
    WITH_FLAG,
  ),
  tcp_port: int(3101, PORT, "Port of goim's packets on bare TCP; 0 takes any free port.", WITH_FLAG),
  http_port: int(3111, PORT, 'Port of the HTTP API and its pages; 0 takes any free port.', WITH_FLAG),
  role: choice(
    'all',
    ['all', 'comet', 'logic', 'job'],
    'What this process does; anything but all needs redis.',
    WITH_FLAG,
  ),
  redis: text(
    '',
    [0, 2048],
    'redis://, rediss://, redis+sentinel:// or redis+cluster:// URL; empty runs the node alone, in memory.',
    { hasFlag: true, visibleAscii: true, hidesLogin: true },
  ),
  data_dir: text('data', [1, 4096], 'Directory of all files Halley writes; created where it is missing.', WITH_FLAG),
  app: text('', [0, 4096], 'Path of the application module that runs inside the buckets; empty runs none.', WITH_FLAG),
};

/** Options in groups: `fanout.max_delay_ms` is row `max_delay_ms` of group `fanout`. */
export const GROUP_OPTIONS = {
  auth: {
    mode: choice('open', ['open', 'jwt'], 'open believes any mid (loopback only); jwt wants a signed token in op 7.'),
    jwt_secret: secret(4 * KIB, 'HS256 secret of client tokens, at least 32 bytes; needed by auth.mode = "jwt".'),
    handshake_timeout_ms: int(8000, [100, 600_000], 'Time from accept to an accepted auth packet (op 7).'),
  },
  http: {
    token: secret(4 * KIB, 'Bearer token of the HTTP API; empty asks for none (loopback only).'),
    max_body_bytes: int(MIB, [KIB, 64 * MIB], 'Largest request body of the HTTP API.'),
    max_batch: int(1000, [1, 100_000], 'Most commands in one request to push/batch.'),
    trusted_proxies: list(
      256,
      'Addresses or CIDR blocks of our own proxies, whose X-Forwarded-For is believed; empty believes nobody.',
    ),
    forwarded_header: choice(
      'x-forwarded-for',
      ['x-forwarded-for', 'forwarded'],
      'The header that those proxies append the client to; the other one is never read.',
    ),
  },
  tls: {
    cert_file: text(
      '',
      [0, 4096],
      'PEM file with the certificate and its chain; empty turns TLS off. Read again on SIGHUP, as all files of this group.',
    ),
    key_file: text('', [0, 4096], 'PEM file with the key of tls.cert_file, without a passphrase.'),
    ws_port: int(3103, PORT, 'Port of the WebSocket and its HTTP fallbacks over TLS; 0 takes any free port.'),
    tcp_port: int(3104, PORT, "Port of goim's packets on TCP over TLS, where tcp is on; 0 takes any free port."),
    plain: choice('on', ['on', 'off'], 'off: ws_port and tcp_port stay closed and clients come over TLS only.'),
    http: choice('off', ['off', 'on'], 'on: http_port, the HTTP API and its pages, speaks https only.'),
    min_version: choice('1.2', ['1.2', '1.3'], 'Lowest version of TLS.'),
    sni: list(
      64,
      'Certificates for further names, each as name=cert.pem:key.pem; *.name stands for one label. Others get tls.cert_file.',
    ),
  },
  heartbeat: {
    interval_s: int(240, [1, 86_400], 'Interval that clients are told to send op 2 at.'),
    max_misses: int(2, [1, 100], 'Missed heartbeats until a channel counts as idle; times interval_s is the deadline.'),
  },
  limits: {
    body_bytes: int(4096, [16, MAX_CLIENT_BODY_BYTES], 'Largest body of a goim op from a client.'),
    request_body_bytes: int(64 * KIB, [KIB, MAX_CLIENT_BODY_BYTES], 'Largest body of op 30 and of the rooms ops.'),
    rooms_per_channel: int(64, [1, 65_536], 'Rooms one channel may be in besides its primary one (room_id, op 12).'),
    room_id_bytes: int(256, [1, 4096], 'Longest room id, type and "://" included.'),
    watch_ops: int(256, [1, 65_536], 'Operations in one watch set (ops 14 and 7).'),
    pre_auth_bytes: int(64 * KIB, [4112, 16 * MIB], 'Bytes kept for a channel while its auth is being decided.'),
    pre_auth_packets: int(64, [1, 65_536], 'Packets kept for a channel while its auth is being decided.'),
    rooms: int(1_048_576, [1, 16_777_216], 'Rooms one node may hold.'),
    channels_per_bucket: int(
      131_072,
      [1, 1_048_576],
      'Channels one bucket may hold; above it, connections are refused.',
    ),
    push_body_bytes: int(MIB, [16, 256 * MIB], 'Largest body of one push.'),
    allowed_origins: list(
      1024,
      'Origins whose pages may connect, as https://example.com or https://*.example.com; empty lets all.',
    ),
    connections_per_ip: int(
      0,
      [0, 1_048_576],
      'Connections one client address may have on this node; 0 sets no bound.',
    ),
    ip_prefix_bits: int(64, [16, 64], 'IPv6 addresses with so many bits in common count as one.'),
    connects_per_s: int(0, [0, 1_000_000], 'Connects per second that one bucket accepts; 0 sets no bound.'),
    connects_burst: int(200, [1, 1_048_576], 'Connects that one bucket accepts at once while connects_per_s is on.'),
    messages_per_s: int(
      0,
      [0, 1_000_000],
      'Packets per second from one channel; 0 sets no bound. A heartbeat a second is free.',
    ),
    messages_burst: int(100, [1, 1_000_000], 'Packets a channel may send at once while messages_per_s is on.'),
    bytes_per_s: int(0, [0, GIB], 'Bytes of packets per second from one channel; 0 sets no bound.'),
    bytes_burst: int(256 * KIB, [16, GIB], 'Bytes a channel may send at once while bytes_per_s is on.'),
    rate_action: choice('close', ['close', 'drop'], 'What becomes of a channel that sends faster, or of its packets.'),
    proxy_protocol: choice(
      'off',
      ['off', 'v2', 'v2-tcp'],
      'v2: all clients come through proxies that write the PROXY protocol, others are refused; v2-tcp: those of the TCP port.',
    ),
  },
  slow: {
    max_backpressure_bytes: int(256 * KIB, [4 * KIB, GIB], 'Unsent bytes at which a channel counts as slow.'),
    close_after_ms: int(30_000, [1, 3_600_000], 'Time a channel may stay slow before it is closed.'),
    extended_close_after_ms: int(
      0,
      [0, 86_400_000],
      'The same for extended channels, which are told what they miss; 0 never closes them.',
    ),
  },
  reconnect: {
    window_ms: int(
      10_000,
      [0, 600_000],
      'Clients spread their reconnects over so long after a shutdown or a lost connection; 0 gives no advice.',
    ),
  },
  fallback: {
    replay_bytes: int(
      32 * KIB,
      [0, 64 * MIB],
      'Bytes of an SSE stream kept behind what was written, for a client that reconnects.',
    ),
    poll_max_wait_ms: int(30_000, [100, 600_000], 'Longest wait of a long poll, whatever it asks for.'),
    ca_file: text(
      '',
      [0, 4096],
      'PEM file of the authority behind other nodes with tls.plain off, to which requests are taken; empty trusts what the system trusts.',
    ),
  },
  fanout: {
    batch_max_messages: int(256, [1, 65_536], 'Messages of a room in one batch; a full batch leaves at once.'),
    batch_max_bytes: int(64 * KIB, [KIB, 16 * MIB], 'Bytes of a room in one batch; a full batch leaves at once.'),
    profile: choice(
      'balanced',
      ['balanced', 'throughput', 'latency'],
      'Defaults of fanout.max_delay_ms, duty_threshold and duty_target: throughput waits up to 240 ms for fewer writes, latency never waits.',
      WITH_FLAG,
    ),
    max_delay_ms: int(60, [0, 10_000], 'Longest wait for more messages while pacing; 0 never waits.'),
    duty_threshold: number(0.5, [0.01, 1], "Share of a bucket's time spent on fan-out at which pacing starts."),
    duty_target: number(0.12, [0.01, 1], 'Share that pacing aims at by sizing the window; at most duty_threshold.'),
  },
  ring: {
    control_bytes: int(16 * MIB, [64 * KIB, GIB], 'Ring of the control thread.', { powerOfTwo: true }),
    bucket_bytes: int(8 * MIB, [64 * KIB, GIB], 'Ring of each bucket.', { powerOfTwo: true }),
    max_record_bytes: int(2 * MIB, [4 * KIB, 256 * MIB], 'Largest record; at most a quarter of either ring.'),
    stall_ms: int(
      2000,
      [200, 600_000],
      'Silence after which a bucket is called stalled, and cut off where it holds the ring back.',
    ),
  },
  queue: {
    max_messages: int(65_536, [1, 16_777_216], 'Pushes waiting in the in-process queue; above it, 503.'),
    max_bytes: int(64 * MIB, [64 * KIB, 64 * GIB], 'Bytes waiting in the in-process queue; above it, 503.'),
  },
  id: {
    epoch_ms: int(
      1_704_067_200_000,
      [0, MAX_ID_EPOCH_MS],
      'Unix time that ids count from; never change it on old data.',
    ),
    machine_block: int(0, [0, 55], 'Block of 16 machine ids of a node without Redis; with Redis blocks are leased.'),
    mark_ahead_ms: int(3000, [100, 600_000], 'How far the high-water mark on disk runs ahead of the newest id.'),
    lease_ms: int(
      10_000,
      [1000, 600_000],
      'Lease of the machine ids in Redis, the same on all nodes; without Redis ids stop after it.',
    ),
    max_skew_ms: int(
      300,
      [10, 60_000],
      'Most that the clocks of a node and of Redis may differ by; less than a third of lease_ms.',
    ),
  },
  ids: {
    schemes: list(8, 'Schemes that GET /ids and gRPC give out; empty gives out all that this node can.'),
    machine: text(
      'lease',
      [1, 4096],
      'Machine id of their snowflakes (896 to 1023) and sonyflakes: lease (any free), private-ip, file:PATH or a number.',
    ),
    epoch_ms: int(
      1_704_067_200_000,
      [0, MAX_ID_EPOCH_MS],
      'Unix time that they count from; a multiple of 10, for ever.',
    ),
    lease_ms: int(3000, [300, 600_000], 'How far ahead of the clock a machine id is claimed in the store.'),
    tags: list(
      1024,
      'Business tags, each as name:step:max (max 0: none); * stands for all others; empty knows every tag.',
    ),
    rules: list(1024, 'Templates of scheme rule, each as name=template; * stands for all other tags.'),
    utc_offset_minutes: int(0, [-840, 840], 'Offset from UTC of the dates in rule-made ids; 480 in China.'),
    master: int(0, [0, 10_000], 'Which master this server is in scheme offset; 0 is none.'),
    max_count: int(10_000, [1, 100_000], 'Most ids of one request.'),
    max_tags: int(1024, [1, 65_536], 'Most generators (a scheme of a tag) of one server; above it, 503.'),
    directory: text('', [0, 4096], 'Directory of the counters without redis; empty is "ids" in data_dir.'),
    grpc_port: int(0, PORT, 'Port of the gRPC service; 0 opens none.'),
  },
  node: {
    region: text('', [0, 64], 'Region of this node, preferred for clients of the same region.'),
    zone: text('', [0, 64], 'Zone of this node inside its region.'),
    weight: int(10, [1, 10_000], 'Weight of this node when clients are spread over the nodes.'),
    capacity: int(
      0,
      [0, 100_000_000],
      'Channels at which the balancer sends this node no more clients; 0 sets no bound.',
    ),
    latitude: text('', [0, 64], "Where this node is, in degrees of -90 to 90; empty takes its region's place."),
    longitude: text('', [0, 64], 'Likewise, in degrees of -180 to 180; set both or none.'),
    addrs: list(64, 'Public addresses of this node, as nodes/weighted tells them.'),
    default_domain: text('', [0, 253], 'Domain that nodes/weighted answers clients without a better node.'),
    host_domain: text('', [0, 253], 'Suffix that makes a server id a public host name.'),
    backoff_max_s: int(300, [1, 86_400], 'Longest wait of a client between two reconnects.'),
    backoff_base_s: int(3, [1, 86_400], 'First wait of a client before it reconnects; at most backoff_max_s.'),
    backoff_factor: number(1.8, [1, 100], "Factor between a client's waits."),
    backoff_jitter: number(0.3, [0, 1], 'Random share of each wait.'),
  },
  balancer: {
    region_weight: number(1.6, [1, 100], "What a node of the client's own region gains in weight."),
    near_band_km: int(
      100,
      [0, 20_100],
      'Nodes whose distances from a client differ by no more count as equally near; 0 goes by distance alone.',
    ),
    regions: list(4096, 'Regions of client addresses, each as block=region; the longest prefix wins.'),
    regions_file: text('', [0, 4096], 'File with more such rules, one a line, # for comments; empty reads none.'),
    region_places: list(1024, 'Where regions are, each as region=latitude,longitude in degrees.'),
    httpdns_ips: int(3, [1, 64], 'IPs in an answer of /halley/httpdns that does not ask for another number.'),
    httpdns_ttl_s: int(10, [0, 86_400], 'How long a client may keep that answer; 0 forbids it.'),
  },
  cluster: {
    prefix: text('halley', [1, 64], 'First part of every key and channel; two clusters on one Redis must differ.', {
      visibleAscii: true,
    }),
    redis_password: secret(4 * KIB, 'Password of Redis, where the URL should not hold it.'),
    redis_tls_ca: text(
      '',
      [0, 4096],
      'PEM file of the authority behind rediss://; empty trusts what the system trusts.',
    ),
    connect_timeout_ms: int(2000, [100, 60_000], 'Longest wait for a connection to Redis.'),
    command_timeout_ms: int(1000, [50, 60_000], 'Longest wait for an answer of Redis; then the command has failed.'),
    lease_ms: int(
      10_000,
      [1000, 600_000],
      'Lease of a node in Redis, renewed every third of it; its sessions end with it.',
    ),
    room_linger_ms: int(
      10_000,
      [0, 3_600_000],
      'How long a node stays subscribed to a room that its last member left.',
    ),
    probe_ms: int(2000, [100, 600_000], 'Interval at which a node checks that its own subscriptions deliver.'),
    rewrite_per_s: int(20_000, [100, 10_000_000], 'Sessions per second written again when Redis comes back empty.'),
  },
  stream: {
    shards: int(
      1,
      [1, 256],
      'Shards of the durable queue, equal on all nodes; with 1 the order holds over all targets.',
    ),
    max_messages: int(
      1_000_000,
      [1, 1_000_000_000],
      'Pushes waiting in one shard of the durable queue; above it, 503.',
    ),
    max_age_s: int(86_400, [1, 31_536_000], 'Age at which a waiting push is moved to the dead letters; 0 never.', {
      orZero: true,
    }),
    max_in_flight: int(65_536, [1, 16_777_216], 'Durable pushes of one node that wait for Redis; above it, 503.'),
    replicas: int(0, [0, 16], 'Replicas that must have a durable push before it is answered; fewer attached, 503.'),
    once_window_s: int(600, [1, 604_800], 'Time in which a repeated Halley-Message-Id is not kept again.'),
    lease_ms: int(5000, [500, 600_000], 'Lease of a job on a shard; a dead job is replaced after it.'),
    batch: int(256, [1, 4096], 'Most durable pushes handed over in one round trip.'),
    max_attempts: int(5, [1, 1000], 'Failures of one durable push until it is moved to the dead letters.'),
    inbox_max: int(10_000, [1, 10_000_000], 'Durable pushes waiting for one node at which its shards slow down.'),
  },
  upstream: {
    sink: choice(
      'none',
      ['none', 'stream', 'webhook', 'both'],
      'Where events of clients go: a Redis Stream (needs redis), a webhook, both, or nowhere.',
    ),
    events: list(16, `Which events: ${UPSTREAM_EVENT_TYPES.join(', ')}; empty sends all.`),
    url: text('', [0, 2048], 'http:// or https:// address of the webhook.', { visibleAscii: true }),
    secret: secret(4 * KIB, 'Secret of the signature (HMAC-SHA256) of the webhook, at least 32 bytes.'),
    webhook_ca_file: text(
      '',
      [0, 4096],
      'PEM file of the authority behind an https:// webhook; empty trusts what the system trusts.',
    ),
    lanes: int(
      8,
      [1, 256],
      'Requests to the webhook that may be under way; events of one user share a lane, in order.',
    ),
    batch_max_events: int(256, [1, 10_000], 'Events in one batch; a full batch leaves at once.'),
    batch_max_bytes: int(256 * KIB, [KIB, 16 * MIB], 'Bytes in one batch; a larger event travels alone.'),
    batch_delay_ms: int(20, [0, 60_000], 'Longest wait of an event for others to share its batch.'),
    max_waiting_events: int(
      65_536,
      [16, 16_777_216],
      'Events waiting for one sink; at 0.8 of it client messages are refused, at it other events are lost.',
    ),
    max_waiting_bytes: int(64 * MIB, [64 * KIB, 16 * GIB], 'The same in bytes.'),
    offline_debounce_ms: int(5000, [0, 3_600_000], 'How long a user may be without a device before offline is told.'),
    timeout_ms: int(5000, [10, 600_000], 'Longest wait for an answer of the webhook.'),
    retry_base_ms: int(200, [1, 60_000], 'Bound of the random wait before the second attempt; doubles with each.'),
    retry_max_ms: int(30_000, [1, 3_600_000], 'Largest bound of that wait; at least retry_base_ms.'),
    give_up_ms: int(300_000, [0, 86_400_000], 'Time after which a batch that the webhook never took is a dead letter.'),
    stream_max_events: int(1_000_000, [1000, 1_000_000_000], 'About how many events the Redis Stream keeps.'),
    dead_max_bytes: int(64 * MIB, [64 * KIB, 16 * GIB], 'Bytes of dead letters kept in the data directory.'),
  },
  history: {
    rooms: list(
      64,
      'Room types that keep their last messages, as type:maxMessages:maxAgeS; * stands for all other types.',
    ),
    memory_bytes: int(64 * MIB, [64 * KIB, 64 * GIB], 'Memory of one node for kept messages; silent rooms go first.'),
    recover_max_messages: int(1000, [1, 10_000], 'Most messages that one recovery (op 23) may bring back.'),
    recover_max_bytes: int(
      256 * KIB,
      [KIB, 8 * MIB],
      'Most bytes that one recovery may bring back; also refused is what slow.max_backpressure_bytes cannot hold.',
    ),
    recover_bytes_per_s: int(
      128 * MIB,
      [64 * KIB, 64 * GIB],
      'Bytes per second of all recoveries of a node; what comes above it waits.',
    ),
    recover_timeout_ms: int(5000, [10, 60_000], 'Longest wait of a recovery; then it is refused for now.'),
  },
  bucket: {
    heap_mb: int(0, [64, 65_536], "Heap limit of a bucket; 0 leaves it to Node's own limit.", { orZero: true }),
    young_heap_mb: int(3, [1, 1024], "Young generation of a bucket's heap: small keeps memory per channel small."),
    heap_refuse_ratio: number(0.85, [0.1, 1], 'Share of its heap limit at which a bucket refuses connections.'),
    accept_above_mean_ratio: number(1.25, [1, 100], 'A bucket above this many times the mean stops accepting.'),
    max_crashes_per_minute: int(5, [1, 1000], 'Crashes in a minute after which a bucket stays down.'),
  },
  shutdown: {
    drain_ms: int(500, [0, 600_000], 'Time over which the closes of a shutdown are spread; 0 closes all at once.'),
    timeout_ms: int(10_000, [100, 3_600_000], 'Time after which a shutdown ends whatever is left.'),
  },
  log: {
    level: choice(
      'info',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'Lowest level that is logged.',
    ),
  },
};

type RootOptions = typeof ROOT_OPTIONS;
type GroupOptions = typeof GROUP_OPTIONS;
type Values<Specs extends Record<string, { readonly default: unknown }>> = {
  readonly [Key in keyof Specs]: Specs[Key]['default'];
};

export type GroupName = keyof GroupOptions;

/** The configuration: validated, deeply frozen, plain data, so that it can be sent to a worker as it is. */
export type Config = Values<RootOptions> & { readonly [Group in GroupName]: Values<GroupOptions[Group]> };

/** `server_id`, `fanout.max_delay_ms` and so on: every option there is. */
export type OptionPath =
  | keyof RootOptions
  | { [Group in GroupName]: `${Group}.${keyof GroupOptions[Group] & string}` }[GroupName];
