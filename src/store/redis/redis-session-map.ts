/**
 * redis-session-map: the session map of the cluster as it stands in Redis: a hash per device key, and per user a hash of his
 * devices. Strict: what Redis does not answer rejects. `RedisSessions` is the forgiving face for the comet.
 *
 * Threads: control thread only.
 * Guarantees: a key is given away only to the same user; a removal needs the owner that is stored; an entry of an incarnation
 *   that is gone owns nothing. Of two connections of one key the one that began later (`sinceMs`, by Redis' clock) stays,
 *   in whatever order their writes arrive; where they began within `clockErrorMs` of one another, the one whose write came later.
 * Cost: put 1 round trip, 2 where a dead owner is in the way; on Cluster one more for the user. remove 1, on Cluster 2.
 */
import type { PutSession, Session, SessionOwner, SessionStore } from '../../push/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink, RedisScript } from './redis-link.js';
import type { RedisNodes } from './redis-nodes.js';

/** Who of the cluster is alive: what sessions need of `RedisNodes`. */
export type NodeFates = Pick<RedisNodes, 'fateOf' | 'refresh' | 'markGone'>;

const FIELDS = ['mid', 'node', 'epoch', 'bucket', 'conn', 'platform', 'ip', 'since'] as const;
const STATUS = { STORED: 1, FOREIGN: 2, SUPERSEDED: 3 } as const;
/** Dead owners may follow one another while we look; more than this in a row is a defect. */
const MAX_OVERRIDES = 3;
const SCAN_COUNT = 500;
/** Of a user's device: what stands in his hash. All texts, since Lua would round large numbers. */
type Packed = [node: string, epoch: string, bucket: string, conn: string, platform: string, ip: string, since: string];

/** One connection as one text, as the scripts build it too. */
export function ownerText({ serverId, nodeEpoch, bucket, connId }: Omit<SessionOwner, 'key'>): string {
  return `${serverId}/${nodeEpoch}/${bucket}/${connId}`;
}

function packed(session: Session): string {
  const { serverId, nodeEpoch, bucket, connId, platform, remoteIp, sinceMs } = session;
  return JSON.stringify([serverId, `${nodeEpoch}`, `${bucket}`, `${connId}`, platform, remoteIp, `${sinceMs}`]);
}

function unpacked(key: string, mid: number, fields: readonly string[]): Session {
  const [serverId = '', epoch, bucket, conn, platform = '', remoteIp = '', since] = fields;
  return {
    key,
    mid,
    serverId,
    nodeEpoch: Number(epoch),
    bucket: Number(bucket),
    connId: Number(conn),
    platform,
    remoteIp,
    sinceMs: Number(since),
  };
}

/** A session from its hash; undefined where there is none. */
function sessionOf(key: string, fields: readonly (string | null)[]): Session | undefined {
  const [mid, ...rest] = fields;
  return mid === null || mid === undefined ? undefined : unpacked(key, Number(mid), rest as string[]);
}

/** The session as the script has stored it: behind the one it replaced, whatever the clocks say. */
function behind(session: Session, held: Session, clockErrorMs: number): Session {
  const isOwn = ownerText(held) === ownerText(session);
  const isTie = held.sinceMs === session.sinceMs && clockErrorMs > 0 && !isOwn;
  if (held.sinceMs <= session.sinceMs && !isTie) return session;
  return { ...session, sinceMs: isOwn ? held.sinceMs : held.sinceMs + 1 };
}

export class RedisSessionMap implements SessionStore {
  readonly #link: RedisLink;
  readonly #fates: NodeFates;
  readonly #put: RedisScript;
  readonly #putUser: RedisScript;
  readonly #remove: RedisScript;
  readonly #removeUser: RedisScript;

  constructor(link: RedisLink, fates: NodeFates) {
    this.#link = link;
    this.#fates = fates;
    const script = (name: string, keyCount: number) =>
      link.script(`session-${name}`, luaSource(import.meta.url, `redis-session-${name}.lua`), keyCount);
    this.#put = script('put', 2);
    this.#putUser = script('put-user', 1);
    this.#remove = script('remove', 1);
    this.#removeUser = script('remove-user', 1);
  }

  /**
   * @param clockErrorMs by how much the clocks of two nodes may differ: a connect that is written at once says it, so that who
   *   really came later is not refused by a clock that is behind. 0 for a write that comes late: its place is that of its time.
   */
  async put(session: Session, clockErrorMs = 0): Promise<PutSession> {
    const { key, mid, serverId, nodeEpoch, bucket, connId, platform, remoteIp, sinceMs } = session;
    const { keys, isCluster } = this.#link;
    const sessionKey = keys.session(key);
    const userKey = mid > 0 && !isCluster ? keys.user(mid) : sessionKey;
    const owner = ownerText(session);
    const rest = [
      mid,
      serverId,
      nodeEpoch,
      bucket,
      connId,
      platform,
      remoteIp,
      sinceMs,
      key,
      packed(session),
      clockErrorMs,
    ];
    let overridden = '';
    for (let attempt = 0; ; attempt++) {
      const [status, ...fields] = (await this.#put([sessionKey, userKey], [overridden, ...rest])) as [
        number,
        ...string[],
      ];
      const held = sessionOf(key, fields);
      const stored =
        held === undefined || ownerText(held) === overridden ? session : behind(session, held, clockErrorMs);
      if (held === undefined || ownerText(held) === owner || ownerText(held) === overridden) {
        if (status === STATUS.FOREIGN && held !== undefined) return { status: 'foreign', ownerMid: held.mid };
        await this.#noteUser(stored, overridden);
        return { status: 'stored', previous: undefined };
      }
      const isLive = await this.#isLive(held);
      if (status === STATUS.STORED) {
        await this.#noteUser(stored, isLive ? '' : ownerText(held));
        return { status: 'stored', previous: isLive ? held : undefined };
      }
      if (isLive || attempt >= MAX_OVERRIDES) {
        return status === STATUS.FOREIGN
          ? { status: 'foreign', ownerMid: held.mid }
          : { status: 'superseded', by: held };
      }
      overridden = ownerText(held);
    }
  }

  async remove(owner: SessionOwner): Promise<Session | undefined> {
    const { keys, isCluster } = this.#link;
    const text = ownerText(owner);
    const parts = isCluster ? ['', ''] : keys.userParts();
    const fields = (await this.#remove([keys.session(owner.key)], [text, owner.key, ...parts])) as string[] | null;
    const removed = fields === null ? undefined : sessionOf(owner.key, fields);
    if (removed !== undefined && isCluster && removed.mid > 0) {
      await this.#removeUser([keys.user(removed.mid)], [owner.key, text]);
    }
    return removed;
  }

  /** Forget a device in a user's hash alone: what a sweep finds there of an owner that is gone. */
  async removeFromUser(mid: number, owner: SessionOwner): Promise<void> {
    await this.#removeUser([this.#link.keys.user(mid)], [owner.key, ownerText(owner)]);
  }

  async byKeys(keys: readonly string[]): Promise<readonly (Session | undefined)[]> {
    const found = await this.read(keys);
    await this.#learn(found);
    return found.map((session) => (session !== undefined && this.#isKnownLive(session) ? session : undefined));
  }

  async byMids(mids: readonly number[]): Promise<readonly Session[]> {
    const users = [...new Set(mids)].filter((mid) => mid > 0);
    const found = await this.readUsers(users);
    await this.#learn(found);
    const live = found.filter((session) => this.#isKnownLive(session));
    return this.#link.isCluster ? await this.stillOwners(live) : live;
  }

  /**
   * Those of `devices` (from hashes of users) that have their key. On one server all have; on Cluster the hash of the user is
   * written after that of the session, and may be left with a connection that was taken over in between.
   */
  async stillOwners(devices: readonly Session[]): Promise<readonly Session[]> {
    const sessions = await this.read(devices.map(({ key }) => key));
    return devices.filter((device, index) => {
      const session = sessions[index];
      return session !== undefined && session.mid === device.mid && ownerText(session) === ownerText(device);
    });
  }

  /** Like byKeys(), but sessions of dead nodes too. */
  read(keys: readonly string[]): Promise<readonly (Session | undefined)[]> {
    const { commands, keys: names } = this.#link;
    return this.#link.bounded(() =>
      Promise.all(keys.map(async (key) => sessionOf(key, await commands.hmget(names.session(key), ...FIELDS)))),
    );
  }

  /** Like byMids(), but sessions of dead nodes too. */
  async readUsers(mids: readonly number[]): Promise<readonly Session[]> {
    const { commands, keys: names } = this.#link;
    const hashes = await this.#link.bounded(() => Promise.all(mids.map((mid) => commands.hgetall(names.user(mid)))));
    return hashes.flatMap((devices, index) =>
      Object.entries(devices).map(([key, text]) => unpacked(key, mids[index] as number, JSON.parse(text) as Packed)),
    );
  }

  /** Reads every session of the cluster: for tests and tools. */
  async removeBucket(serverId: string, nodeEpoch: number, bucket: number): Promise<readonly Session[]> {
    const removed: Session[] = [];
    for await (const { sessions } of this.slices(SCAN_COUNT)) {
      for (const session of sessions) {
        const isMeant = session.serverId === serverId && session.nodeEpoch === nodeEpoch && session.bucket === bucket;
        const found = isMeant ? await this.remove(session) : undefined;
        if (found !== undefined) removed.push(found);
      }
    }
    return removed;
  }

  /** Reads every session of the cluster: for tests and tools. */
  async count(): Promise<number> {
    const live = new Set<string>();
    for await (const { sessions } of this.slices(SCAN_COUNT)) {
      await this.#learn(sessions);
      for (const session of sessions) if (this.#isKnownLive(session)) live.add(session.key);
    }
    return live.size;
  }

  /** All that is stored, dead or not, a slice of about `sliceCount` keys of Redis at a time; some may come twice. */
  async *slices(
    sliceCount: number,
  ): AsyncGenerator<{ readonly sessions: readonly Session[]; readonly devices: readonly Session[] }> {
    const { keys: names } = this.#link;
    for (const master of this.#link.masters()) {
      let cursor = '0';
      do {
        const [next, found] = await this.#link.bounded(() =>
          master.scan(cursor, 'MATCH', names.sessionsPattern(), 'COUNT', sliceCount),
        );
        cursor = next;
        const parsed = found.map((name) => names.parseSessionName(name));
        const keys = parsed.flatMap((name) => (name?.kind === 'session' ? [name.id] : []));
        const mids = parsed.flatMap((name) => (name?.kind === 'user' ? [Number(name.id)] : []));
        const sessions = (await this.read(keys)).filter((session) => session !== undefined);
        yield { sessions, devices: await this.readUsers(mids) };
      } while (cursor !== '0');
    }
  }

  async #noteUser(session: Session, overridden: string): Promise<void> {
    if (!this.#link.isCluster || session.mid <= 0) return;
    const { key, mid, sinceMs } = session;
    let override = overridden;
    for (let attempt = 0; attempt <= MAX_OVERRIDES; attempt++) {
      const args = [key, packed(session), ownerText(session), sinceMs, override];
      const text = (await this.#putUser([this.#link.keys.user(mid)], args)) as string | null;
      if (text === null) return;
      const held = unpacked(key, mid, JSON.parse(text) as Packed);
      if (await this.#isLive(held)) return;
      // Left there by a node that is gone: its session went to another user in between.
      override = ownerText(held);
    }
  }

  #isKnownLive({ serverId, nodeEpoch }: Session): boolean {
    return this.#fates.fateOf(serverId, nodeEpoch) === 'live';
  }

  async #isLive(session: Session): Promise<boolean> {
    await this.#learn([session]);
    return this.#isKnownLive(session);
  }

  /** Incarnations that this node has not heard of are either very young or long dead: one look tells. */
  async #learn(sessions: readonly (Session | undefined)[]): Promise<void> {
    const isUnknown = (session: Session | undefined) =>
      session !== undefined && this.#fates.fateOf(session.serverId, session.nodeEpoch) === 'unknown';
    if (!sessions.some(isUnknown)) return;
    await this.#fates.refresh();
    for (const session of sessions) {
      if (session !== undefined && isUnknown(session)) this.#fates.markGone(session.serverId, session.nodeEpoch);
    }
  }
}
