/**
 * redis-link-checks: is this the Redis that Halley needs? Asked once, when a link opens, of every master.
 *
 * Guarantees: each error names one cause and what to do; none holds a password. Reading INFO and asking for permissions
 *   changes nothing on the server.
 */
import { HalleyError } from '../../errors/index.js';
import { luaSource } from './lua-source.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisPlace } from './redis-link-url.js';

/** The one thing the checks need of a client: a command, as words. */
export interface CommandCaller {
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
}

/** Redis 7.0 brought sharded pub/sub, ACL selectors and redis.acl_check_cmd. */
export const MIN_REDIS_VERSION = [7, 0] as const;

/** `name:value` lines of INFO. */
export function parseInfo(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/** @throws HalleyError REDIS_TOO_OLD, REDIS_IS_CLUSTER, REDIS_NOT_CLUSTER, REDIS_READ_ONLY */
export function checkInfo(info: ReadonlyMap<string, string>, kind: RedisPlace['kind'], place: string): void {
  const version = info.get('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor, minMinor] = MIN_REDIS_VERSION;
  // Not a number: a fork that counts otherwise. What it cannot do shows in the probe of commands.
  if (major < minMajor || (major === minMajor && minor < minMinor)) {
    throw new HalleyError('REDIS_TOO_OLD', `Redis must be version ${minMajor}.${minMinor} or newer`, {
      place,
      version,
    });
  }
  const isCluster = info.get('redis_mode') === 'cluster' || info.get('cluster_enabled') === '1';
  if (isCluster && kind !== 'cluster') {
    throw new HalleyError('REDIS_IS_CLUSTER', 'the server is part of a Redis Cluster: say redis+cluster://', { place });
  }
  if (!isCluster && kind === 'cluster') throw notCluster(place);
  if (info.get('role') === 'slave') {
    throw new HalleyError(
      'REDIS_READ_ONLY',
      'the server is a read-only replica: name its master, or redis+sentinel://',
      {
        place,
        master: `${info.get('master_host') ?? ''}:${info.get('master_port') ?? ''}`,
      },
    );
  }
}

export function notCluster(place: string, cause?: unknown): HalleyError {
  return new HalleyError(
    'REDIS_NOT_CLUSTER',
    'the server is not part of a Redis Cluster: say redis:// instead of redis+cluster://',
    { place },
    cause,
  );
}

/** A warning where Redis may throw keys away when its memory is full; undefined where it refuses writes instead. */
export function evictionWarning(info: ReadonlyMap<string, string>): string | undefined {
  const policy = info.get('maxmemory_policy') ?? 'noeviction';
  if (policy === 'noeviction') return undefined;
  return `maxmemory-policy is ${policy}: Redis may throw sessions and queued pushes away; set noeviction`;
}

/** Every command on every family of keys and channels that some part of Halley uses. */
export function permissionProbes(keys: RedisKeys, isCluster: boolean): readonly (readonly string[])[] {
  const [session, user, node, queue, inbox] = [
    keys.session('probe'),
    keys.user(0),
    keys.node('probe'),
    keys.queue(0),
    keys.inbox('probe', 0),
  ] as const;
  const { room, single } = { room: keys.room('probe', 'log'), single: keys.single('gen') };
  const probes: string[][] = [
    ...[session, user, node, keys.room('probe', 'seq')].flatMap((key) => [
      ['hset', key, 'f', 'v'],
      ['hmget', key, 'f'],
      ['hgetall', key],
      ['hdel', key, 'f'],
      ['del', key],
    ]),
    ['zadd', keys.nodes(), '0', 'm'],
    ['zrem', keys.nodes(), 'm'],
    ['zrangebyscore', keys.nodes(), '0', '1'],
    ['get', single],
    ['set', single, 'v'],
    ...[keys.machineBlocks(), keys.online('probe')].flatMap((key) => [
      ['hset', key, 'f', 'v'],
      ['hgetall', key],
    ]),
    ['hscan', keys.online('probe', ':rooms'), '0'],
    ...[queue, inbox, room, keys.events(), keys.online('probe', ':log')].flatMap((key) => [
      ['xadd', key, '*', 'f', 'v'],
      ['xread', 'streams', key, '0'],
      ['xrange', key, '-', '+'],
      ['xtrim', key, 'maxlen', '0'],
    ]),
    ['xgroup', 'create', queue, 'g', '0'],
    ['xreadgroup', 'group', 'g', 'c', 'streams', queue, '>'],
    ['xack', queue, 'g', '0-0'],
    ['xautoclaim', queue, 'g', 'c', '0', '0'],
    ['scan', '0'],
    ['time'],
    ['ping'],
    ['pexpire', single, '1'],
  ];
  const channels = [keys.pushChannel(), keys.nodeChannel('probe'), keys.roomChannel('probe'), keys.allChannel()];
  for (const channel of channels) {
    probes.push(['publish', channel, 'm'], ['subscribe', channel]);
    if (isCluster) probes.push(['spublish', channel, 'm'], ['ssubscribe', channel]);
  }
  return probes;
}

/** @throws HalleyError REDIS_NO_PERMISSION that names what this user may not do */
export async function checkPermissions(client: CommandCaller, keys: RedisKeys, isCluster: boolean): Promise<void> {
  const lua = luaSource(import.meta.url, 'redis-link-probe.lua');
  const args = permissionProbes(keys, isCluster).flatMap((words) => [words.length, ...words]);
  let missing: readonly string[];
  try {
    missing = (await client.call('EVAL', lua, 0, ...args)) as string[];
  } catch (error) {
    throw connectError(error, '');
  }
  if (missing.length > 0) {
    const shown = [...new Set(missing)];
    throw new HalleyError(
      'REDIS_NO_PERMISSION',
      'the user of Redis may not do what Halley needs; give it by ACL SETUSER',
      {
        missing: shown.slice(0, 10).join(', ') + (shown.length > 10 ? ` and ${shown.length - 10} more` : ''),
      },
    );
  }
}

/** The error for a command that an ACL refused, undefined for any other failure. */
export function permissionError(error: unknown): HalleyError | undefined {
  const message = error instanceof Error ? error.message : '';
  if (!message.startsWith('NOPERM')) return undefined;
  const missing = /run the '([^']+)' command/.exec(message)?.[1] ?? message.slice('NOPERM '.length);
  return new HalleyError(
    'REDIS_NO_PERMISSION',
    'the user of Redis may not do what Halley needs; give it by ACL SETUSER',
    { missing },
    causeOf(error),
  );
}

/** Why a connection could not be opened, as an error that names it. `error`: what the client said last. */
export function connectError(error: unknown, place: string): HalleyError {
  const { code = '', message = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (error instanceof HalleyError) return error;
  const cause = causeOf(error);
  if (/^(WRONGPASS|NOAUTH)/.test(message) || message.includes('invalid password')) {
    const wanted = message.startsWith('NOAUTH') ? 'Redis asks for a password' : 'Redis refuses user name or password';
    return new HalleyError('REDIS_WRONG_LOGIN', `${wanted} (options redis, cluster.redis_password)`, { place });
  }
  const denied = permissionError(error);
  if (denied !== undefined) return denied;
  if (/cluster support disabled/.test(message)) return notCluster(place, cause);
  if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code)) {
    return new HalleyError(
      'REDIS_TLS_UNTRUSTED',
      'the certificate of Redis is not signed by a trusted authority (option cluster.redis_tls_ca)',
      { place, reason: code },
      cause,
    );
  }
  return new HalleyError(
    'REDIS_UNREACHABLE',
    'Redis does not answer (option redis; a server with TLS wants rediss://, one without does not answer it)',
    { place, reason: code === '' ? message : code },
    cause,
  );
}

/** The text of an error only: one of the client carries its command, and that of a login is the password. */
function causeOf(error: unknown): Error | undefined {
  return error instanceof Error ? new Error(error.message) : undefined;
}
