/**
 * Rules between options: what no single row can say. Secure by default: a port that others can reach needs a token.
 */
import { isIPv4 } from 'node:net';
import { type ConfigProblem, DEFAULT_ORIGIN, type Origin } from './config-problem.js';
import { historyRulesProblem } from './history-rules.js';
import { idMachineProblem, idSchemesProblem, idTagsProblem, idTemplatesProblem } from './id-rules.js';
import { findOption, type OptionRow, optionValue } from './option-rows.js';
import { type Config, type OptionPath, UPSTREAM_EVENT_TYPES } from './option-table.js';
import { showValue } from './option-value.js';
import { sniProblem } from './sni-rules.js';

const MIN_JWT_SECRET_BYTES = 32;
const MIN_SECRET_BYTES = 32;
const UPSTREAM_EVENT_NAMES: readonly string[] = UPSTREAM_EVENT_TYPES;
/** Room in a record beside the body: header, room id of the usual length, packet header. */
const PUSH_OVERHEAD_BYTES = 1024;
/** Room in a record beside a recovery's bytes: room id (4096 at most) twice, batch header, the message around it. */
const RECOVER_OVERHEAD_BYTES = 16_384;

/** goim's header in front of every body. */
const PACKET_HEADER_BYTES = 16;

interface Rule {
  /** Options the rule reads; the first is the one it blames. */
  readonly paths: readonly [OptionPath, ...OptionPath[]];
  readonly isBroken: (config: Config) => boolean;
  /** What is expected, built from the values it depends on; never from a secret. */
  readonly sentence: (config: Config) => string;
}

/** True for an address that only this machine can reach: 127.0.0.0/8, ::1, localhost. */
export function isLoopback(host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || host === '::1' || host.toLowerCase() === 'localhost';
}

function hasWebhook(sink: string): boolean {
  return sink === 'webhook' || sink === 'both';
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

const RULES: readonly Rule[] = [
  {
    paths: ['auth.mode', 'host'],
    isBroken: (config) => config.auth.mode === 'open' && !isLoopback(config.host),
    sentence: (config) => `auth.mode must be jwt where host is not loopback (host=${JSON.stringify(config.host)})`,
  },
  {
    paths: ['http.token', 'host'],
    isBroken: (config) => config.http.token === '' && !isLoopback(config.host),
    sentence: (config) => `http.token must be set where host is not loopback (host=${JSON.stringify(config.host)})`,
  },
  {
    paths: ['auth.jwt_secret', 'auth.mode'],
    isBroken: (config) =>
      config.auth.mode === 'jwt' && Buffer.byteLength(config.auth.jwt_secret) < MIN_JWT_SECRET_BYTES,
    sentence: (config) =>
      `auth.jwt_secret must have at least ${MIN_JWT_SECRET_BYTES} bytes where auth.mode is jwt, it has ${Buffer.byteLength(config.auth.jwt_secret)}`,
  },
  {
    paths: ['http_port', 'ws_port'],
    isBroken: (config) => config.http_port !== 0 && config.http_port === config.ws_port,
    sentence: (config) => `http_port must differ from ws_port (ws_port=${config.ws_port})`,
  },
  {
    paths: ['tcp_port', 'ws_port', 'http_port'],
    isBroken: ({ tcp_port, ws_port, http_port }) => tcp_port !== 0 && (tcp_port === ws_port || tcp_port === http_port),
    sentence: ({ ws_port, http_port }) => `tcp_port must differ from ws_port, ${ws_port}, and http_port, ${http_port}`,
  },
  {
    // Whether the files hold what they should is seen at the start: this one is also run where they are not, by operators.
    paths: ['tls.key_file', 'tls.cert_file'],
    isBroken: ({ tls }) => (tls.key_file === '') !== (tls.cert_file === ''),
    sentence: ({ tls }) =>
      tls.key_file === ''
        ? 'tls.key_file must be set where tls.cert_file is'
        : 'tls.key_file must be empty where tls.cert_file is',
  },
  {
    paths: ['tls.plain', 'tls.cert_file'],
    isBroken: ({ tls }) => tls.plain === 'off' && tls.cert_file === '',
    sentence: () => 'tls.plain must be on where tls.cert_file is empty',
  },
  {
    paths: ['tls.http', 'tls.cert_file'],
    isBroken: ({ tls }) => tls.http === 'on' && tls.cert_file === '',
    sentence: () => 'tls.http must be off where tls.cert_file is empty',
  },
  {
    paths: ['tls.sni', 'tls.cert_file'],
    isBroken: ({ tls }) => tls.sni.length > 0 && tls.cert_file === '',
    sentence: () => 'tls.sni must be empty where tls.cert_file is',
  },
  {
    paths: ['tls.sni'],
    isBroken: ({ tls }) => sniProblem(tls.sni) !== undefined,
    sentence: ({ tls }) => sniProblem(tls.sni) ?? '',
  },
  {
    paths: ['tls.ws_port', 'tls.cert_file', 'http_port', 'ws_port', 'tcp_port'],
    isBroken: ({ tls, http_port, ws_port, tcp_port }) =>
      tls.cert_file !== '' && tls.ws_port !== 0 && [http_port, ws_port, tcp_port].includes(tls.ws_port),
    sentence: ({ http_port, ws_port, tcp_port }) =>
      `tls.ws_port must differ from http_port, ${http_port}, ws_port, ${ws_port}, and tcp_port, ${tcp_port}`,
  },
  {
    paths: ['tls.tcp_port', 'tls.cert_file', 'tls.ws_port', 'http_port', 'ws_port', 'tcp_port'],
    isBroken: ({ tls, http_port, ws_port, tcp_port }) =>
      tls.cert_file !== '' && tls.tcp_port !== 0 && [http_port, ws_port, tcp_port, tls.ws_port].includes(tls.tcp_port),
    sentence: ({ tls, http_port, ws_port, tcp_port }) =>
      `tls.tcp_port must differ from http_port, ${http_port}, ws_port, ${ws_port}, tcp_port, ${tcp_port}, and tls.ws_port, ${tls.ws_port}`,
  },
  {
    // A node of one role meets the others in Redis only.
    paths: ['role', 'redis'],
    isBroken: ({ role, redis }) => role !== 'all' && redis === '',
    sentence: () => 'role must be all where redis is empty',
  },
  {
    paths: ['fanout.duty_target', 'fanout.duty_threshold'],
    isBroken: (config) => config.fanout.duty_target > config.fanout.duty_threshold,
    sentence: (config) => `fanout.duty_target must be at most fanout.duty_threshold, ${config.fanout.duty_threshold}`,
  },
  {
    paths: ['shutdown.drain_ms', 'shutdown.timeout_ms'],
    isBroken: (config) => config.shutdown.drain_ms > config.shutdown.timeout_ms / 2,
    sentence: (config) =>
      `shutdown.drain_ms must be at most half of shutdown.timeout_ms, ${config.shutdown.timeout_ms / 2}`,
  },
  {
    paths: ['node.backoff_base_s', 'node.backoff_max_s'],
    isBroken: (config) => config.node.backoff_base_s > config.node.backoff_max_s,
    sentence: (config) => `node.backoff_base_s must be at most node.backoff_max_s, ${config.node.backoff_max_s}`,
  },
  {
    paths: ['id.max_skew_ms', 'id.lease_ms'],
    isBroken: (config) => config.id.max_skew_ms * 3 >= config.id.lease_ms,
    sentence: (config) => `id.max_skew_ms must be less than a third of id.lease_ms, ${config.id.lease_ms}`,
  },
  {
    paths: ['ring.max_record_bytes', 'ring.control_bytes'],
    isBroken: (config) => config.ring.max_record_bytes > config.ring.control_bytes / 4,
    sentence: (config) =>
      `ring.max_record_bytes must be at most a quarter of ring.control_bytes, ${config.ring.control_bytes / 4}`,
  },
  {
    paths: ['ring.max_record_bytes', 'ring.bucket_bytes'],
    isBroken: (config) => config.ring.max_record_bytes > config.ring.bucket_bytes / 4,
    sentence: (config) =>
      `ring.max_record_bytes must be at most a quarter of ring.bucket_bytes, ${config.ring.bucket_bytes / 4}`,
  },
  {
    paths: ['limits.push_body_bytes', 'ring.max_record_bytes'],
    isBroken: (config) => config.limits.push_body_bytes + PUSH_OVERHEAD_BYTES > config.ring.max_record_bytes,
    sentence: (config) =>
      `limits.push_body_bytes must be at most ring.max_record_bytes less ${PUSH_OVERHEAD_BYTES}, ${config.ring.max_record_bytes - PUSH_OVERHEAD_BYTES}`,
  },
  {
    paths: ['limits.bytes_burst', 'limits.bytes_per_s', 'limits.request_body_bytes'],
    isBroken: ({ limits }) =>
      limits.bytes_per_s > 0 && limits.bytes_burst < limits.request_body_bytes + PACKET_HEADER_BYTES,
    sentence: ({ limits }) =>
      `limits.bytes_burst must be at least limits.request_body_bytes plus ${PACKET_HEADER_BYTES}, ${limits.request_body_bytes + PACKET_HEADER_BYTES}, or such a packet could never pass`,
  },
  {
    paths: ['upstream.sink', 'redis'],
    isBroken: ({ upstream, redis }) => (upstream.sink === 'stream' || upstream.sink === 'both') && redis === '',
    sentence: () => 'upstream.sink must be webhook or none where redis is empty',
  },
  {
    paths: ['upstream.url', 'upstream.sink'],
    isBroken: ({ upstream }) => hasWebhook(upstream.sink) && !isHttpUrl(upstream.url),
    sentence: ({ upstream }) =>
      `upstream.url must be an http:// or https:// URL where upstream.sink is ${upstream.sink}`,
  },
  {
    paths: ['upstream.secret', 'upstream.sink'],
    isBroken: ({ upstream }) => hasWebhook(upstream.sink) && Buffer.byteLength(upstream.secret) < MIN_SECRET_BYTES,
    sentence: ({ upstream }) =>
      `upstream.secret must have at least ${MIN_SECRET_BYTES} bytes where upstream.sink is ${upstream.sink}, it has ${Buffer.byteLength(upstream.secret)}`,
  },
  {
    paths: ['upstream.events'],
    isBroken: ({ upstream }) => upstream.events.some((type) => !UPSTREAM_EVENT_NAMES.includes(type)),
    sentence: () => `upstream.events must name events: ${UPSTREAM_EVENT_NAMES.join(', ')}`,
  },
  {
    paths: ['upstream.retry_base_ms', 'upstream.retry_max_ms'],
    isBroken: ({ upstream }) => upstream.retry_base_ms > upstream.retry_max_ms,
    sentence: ({ upstream }) =>
      `upstream.retry_base_ms must be at most upstream.retry_max_ms, ${upstream.retry_max_ms}`,
  },
  {
    paths: ['ids.schemes'],
    isBroken: ({ ids }) => idSchemesProblem(ids.schemes) !== undefined,
    sentence: ({ ids }) => idSchemesProblem(ids.schemes) ?? '',
  },
  {
    paths: ['ids.tags'],
    isBroken: ({ ids }) => idTagsProblem(ids.tags) !== undefined,
    sentence: ({ ids }) => idTagsProblem(ids.tags) ?? '',
  },
  {
    paths: ['ids.rules'],
    isBroken: ({ ids }) => idTemplatesProblem(ids.rules) !== undefined,
    sentence: ({ ids }) => idTemplatesProblem(ids.rules) ?? '',
  },
  {
    paths: ['ids.machine'],
    isBroken: ({ ids }) => idMachineProblem(ids.machine) !== undefined,
    sentence: ({ ids }) => idMachineProblem(ids.machine) ?? '',
  },
  {
    paths: ['ids.epoch_ms'],
    isBroken: ({ ids }) => ids.epoch_ms % 10 !== 0,
    sentence: () => 'ids.epoch_ms must be a multiple of 10',
  },
  {
    paths: ['ids.grpc_port', 'http_port', 'ws_port', 'tcp_port'],
    isBroken: ({ ids, http_port, ws_port, tcp_port }) =>
      ids.grpc_port !== 0 && [http_port, ws_port, tcp_port].includes(ids.grpc_port),
    sentence: ({ http_port, ws_port, tcp_port }) =>
      `ids.grpc_port must differ from http_port, ${http_port}, ws_port, ${ws_port}, and tcp_port, ${tcp_port}`,
  },
  {
    paths: ['ids.grpc_port', 'tls.cert_file', 'tls.ws_port', 'tls.tcp_port'],
    isBroken: ({ ids, tls }) =>
      tls.cert_file !== '' && ids.grpc_port !== 0 && [tls.ws_port, tls.tcp_port].includes(ids.grpc_port),
    sentence: ({ tls }) =>
      `ids.grpc_port must differ from tls.ws_port, ${tls.ws_port}, and tls.tcp_port, ${tls.tcp_port}`,
  },
  {
    paths: ['history.rooms'],
    isBroken: (config) => historyRulesProblem(config.history.rooms) !== undefined,
    sentence: (config) => historyRulesProblem(config.history.rooms) ?? '',
  },
  {
    paths: ['history.recover_max_bytes', 'history.rooms', 'ring.max_record_bytes'],
    isBroken: (config) =>
      config.history.rooms.length > 0 &&
      config.history.recover_max_bytes + RECOVER_OVERHEAD_BYTES > config.ring.max_record_bytes,
    sentence: (config) =>
      `history.recover_max_bytes must be at most ring.max_record_bytes less ${RECOVER_OVERHEAD_BYTES}, ${config.ring.max_record_bytes - RECOVER_OVERHEAD_BYTES}`,
  },
];

/**
 * The rules that `config` breaks, in a fixed order; empty where it is sound.
 *
 * @param origins where the values came from, for the report; an option that is missing counts as a default
 * @param unknownPaths options whose value in `config` is not the one meant (it was refused): rules that read them are left out
 */
export function checkConfig(
  config: Config,
  origins: Readonly<Partial<Record<OptionPath, Origin>>> = {},
  unknownPaths: ReadonlySet<OptionPath> = new Set(),
): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  for (const rule of RULES) {
    if (rule.paths.some((path) => unknownPaths.has(path)) || !rule.isBroken(config)) continue;
    const path = rule.paths[0];
    const row = findOption(path) as OptionRow;
    problems.push({
      code: 'RULE',
      path,
      sentence: rule.sentence(config),
      origin: origins[path] ?? DEFAULT_ORIGIN,
      fact: `${path}=${showValue(row, optionValue(config, row))}`,
    });
  }
  return problems;
}
