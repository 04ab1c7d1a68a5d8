/**
 * redis-keys: every name that Halley uses in Redis, in one place. The part in braces is the hash tag: on Redis Cluster, keys
 * with one tag live in one slot, so a script may touch them together.
 *
 * Guarantees: one text per argument list; a brace or percent sign inside a tag is escaped as %XX, so that a room or key a
 * client made up cannot leave its slot.
 */

/** A name as hash tag, braces included. */
function tag(name: string): string {
  return `{${/[{}%]/.test(name) ? name.replace(/[{}%]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`) : name}}`;
}

/** The text behind a tag of `tag`, without its braces. */
export function untag(escaped: string): string {
  return escaped.replace(/%(7B|7D|25)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

export class RedisKeys {
  readonly prefix: string;

  /** @param prefix `halley` unless two clusters share one Redis */
  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Hash: the session of a device key. */
  session(key: string): string {
    return `${this.prefix}:s:${tag(key)}`;
  }

  /** Hash: device key -> owner, of one user. */
  user(mid: number): string {
    const [head, tail] = this.userParts();
    return `${head}${mid}${tail}`;
  }

  /** What stands before and behind the mid in user(), for a script on one server. */
  userParts(): readonly [head: string, tail: string] {
    return [`${this.prefix}:u:{`, '}'];
  }

  /** Glob that SCAN finds every session() and user() by. */
  sessionsPattern(): string {
    return `${this.prefix.replace(/[\\*?[\]^-]/g, '\\$&')}:[su]:{*`;
  }

  /** The device key or mid in the name of a session() or user(); undefined for any other name. */
  parseSessionName(name: string): { readonly kind: 'session' | 'user'; readonly id: string } | undefined {
    const rest = name.startsWith(`${this.prefix}:`) ? name.slice(this.prefix.length + 1) : '';
    if (!/^[su]:\{.*\}$/s.test(rest)) return undefined;
    return { kind: rest.startsWith('s') ? 'session' : 'user', id: untag(rest.slice(3, -1)) };
  }

  /** Hash: lease, nodeEpoch and what the balancer knows of a node. */
  node(serverId: string): string {
    return `${this.prefix}:node:${tag(serverId)}`;
  }

  /** Sorted set: server id -> end of its lease in ms. */
  nodes(): string {
    return `${this.prefix}:nodes`;
  }

  /** Hash: block of machine ids -> its lease. One key, because a lease is chosen from all of them in one script. */
  machineBlocks(): string {
    return `${this.prefix}:mach`;
  }

  /** What a node tells of who is online on it: counter of its batches, `rooms` (room -> members), `log` (stream of changes). */
  online(serverId: string, part: '' | ':rooms' | ':log' = ''): string {
    return `${this.prefix}:on:${tag(serverId)}${part}`;
  }

  /** Hash: a counter of ids or the claim on a machine id (SegmentStore). */
  idSegment(counterTag: string): string {
    return `${this.prefix}:id:${tag(counterTag)}`;
  }

  /** String: the counter of a tag's ids by INCR; any producer may count with it. */
  idCounter(counterTag: string): string {
    return `${this.prefix}:incr:${tag(counterTag)}`;
  }

  /**
   * What belongs to one room: `seq` (epoch and offset), `log` (history stream), `nodes` (server id -> members), `writer` (who
   * appends what the push channel brings), `pushed` (which of its commands were appended).
   */
  room(room: string, part: 'seq' | 'log' | 'nodes' | 'writer' | 'pushed'): string {
    return `${this.prefix}:r:${tag(room)}:${part}`;
  }

  /** Stream: a shard of the durable queue. Its companions (`:dead`, `:lease`) share the slot. */
  queue(shard: number, part: '' | ':dead' | ':lease' | ':done' = ''): string {
    return `${this.prefix}:q:{${shard}}${part}`;
  }

  /** String: a producer's idempotency id that a shard has seen. Shares its slot. */
  queueOnce(shard: number, idempotencyId: string): string {
    return `${this.prefix}:q:{${shard}}:once:${idempotencyId}`;
  }

  /** Stream: durable pushes handed over to one incarnation of a node, which reads them from where it stopped. */
  inbox(serverId: string, nodeEpoch: number): string {
    return `${this.prefix}:in:${tag(serverId)}:${nodeEpoch}`;
  }

  /** Stream: what clients did (upstream events). Its companions share the slot: the tag is the stream's whole name. */
  events(part: '' | ':dead' | ':last' = ''): string {
    return part === '' ? `${this.prefix}:events` : `{${this.prefix}:events}${part}`;
  }

  /** String: the mark of a user with devices somewhere, or of one whose "offline" was told. */
  userMark(mid: number): string {
    return `${this.prefix}:up:{${mid}}`;
  }

  /** A name of its own for a single value, for example `gen` (generation of the data). */
  single(name: string): string {
    return `${this.prefix}:${name}`;
  }

  // Channels of pub/sub.

  /** Any producer publishes pushes here. */
  pushChannel(): string {
    return `${this.prefix}:push`;
  }

  /** Bad commands of producers are reported here. */
  pushErrorsChannel(): string {
    return `${this.prefix}:push:errors`;
  }

  /** To one node: pushes by key and mid, takeovers, administrative calls. */
  nodeChannel(serverId: string): string {
    return `${this.prefix}:ch:node:${tag(serverId)}`;
  }

  /** To the nodes that have members of a room. */
  roomChannel(room: string): string {
    return `${this.prefix}:ch:room:${tag(room)}`;
  }

  /** To every node. */
  allChannel(): string {
    return `${this.prefix}:ch:all`;
  }
}
