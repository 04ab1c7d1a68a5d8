import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../clock/index.js';
import type { Session, UserChange, UserMarks } from '../../push/index.js';
import { MemorySessions } from '../../store/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { sessionOf } from './fixtures/upstream-parts.js';
import { UserPresence } from './user-presence.js';

const DEBOUNCE_MS = 1_000;

/** What Redis holds: sessions of all nodes, and marks with the rules of the scripts. */
class TestCluster implements UserMarks {
  readonly sessions = new MemorySessions();
  readonly marks = new Map<number, string>();
  readonly told: string[] = [];
  isAway = false;
  /** How often an answer is lost after the command was carried out. */
  lostAnswers = 0;
  /** Runs between the question for sessions and its answer. */
  whileAsked: () => void = () => {};

  async byMids(mids: readonly number[]): Promise<readonly Session[]> {
    this.#check();
    const found = this.sessions.byMids(mids);
    this.whileAsked();
    await Promise.resolve();
    return found;
  }

  async arrived(changes: readonly UserChange[]): Promise<readonly boolean[]> {
    this.#check();
    const answers = changes.map(({ mid, token }) => {
      const [, first, last] = /^on (\S+) (\S+)$/.exec(this.marks.get(mid) ?? '') ?? [];
      if (first === token || last === token) return first === token;
      this.marks.set(mid, `on ${first ?? token} ${token}`);
      return first === undefined;
    });
    this.#loseAnswer();
    return answers;
  }

  async read(mids: readonly number[]): Promise<readonly string[]> {
    this.#check();
    return mids.map((mid) => this.marks.get(mid) ?? '');
  }

  async departed(changes: readonly (UserChange & { seenMark: string })[]): Promise<readonly boolean[]> {
    this.#check();
    const answers = changes.map(({ mid, token, seenMark }) => {
      const mark = this.marks.get(mid) ?? '';
      if (mark === `off ${token}`) return true;
      if (mark !== seenMark || mark.startsWith('off ')) return false;
      this.marks.set(mid, `off ${token}`);
      return true;
    });
    this.#loseAnswer();
    return answers;
  }

  #check(): void {
    if (this.isAway) throw new Error('REDIS_AWAY');
  }

  #loseAnswer(): void {
    if (this.lostAnswers === 0) return;
    this.lostAnswers -= 1;
    throw new Error('command timed out');
  }
}

class TestNode {
  readonly local = new MemorySessions();
  readonly presence: UserPresence;
  readonly serverId: string;
  nodeEpoch = 1;
  isAlive = true;
  #connId = 0;
  readonly #cluster: TestCluster | undefined;

  constructor(told: string[], cluster?: TestCluster, serverId = 'node-a', maxWaitingCount = 1_000) {
    this.#cluster = cluster;
    this.serverId = serverId;
    const node = this;
    const directory = {
      serverId,
      get nodeEpoch() {
        return node.nodeEpoch;
      },
      isLive: (_: string, nodeEpoch: number) => this.isAlive && nodeEpoch === this.nodeEpoch,
    };
    this.presence = new UserPresence(
      { debounceMs: DEBOUNCE_MS, maxWaitingCount },
      {
        local: this.local,
        cluster: cluster && { sessions: cluster, directory, marks: cluster },
        clock: systemClock,
        log: memoryLog().logger,
        tell: (type, session) => told.push(`${type} ${session.mid}`),
      },
    );
  }

  connect(mid: number, key = `${this.serverId}-${mid}`): Session {
    this.#connId += 1;
    const session = sessionOf({ mid, key, serverId: this.serverId, nodeEpoch: this.nodeEpoch, connId: this.#connId });
    const isFirst = this.local.byMids([mid]).length === 0;
    this.local.put(session);
    this.#cluster?.sessions.put(session);
    this.presence.connected(session, isFirst);
    return session;
  }

  disconnect(session: Session): void {
    this.local.remove(session);
    this.#cluster?.sessions.remove(session);
    this.presence.disconnected(session);
  }
}

let told: string[];
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  told = [];
});
afterEach(() => {
  vi.useRealTimers();
});
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('standalone', () => {
  it('a user is online with the first device and offline when the last has been gone for the debounce', async () => {
    const node = new TestNode(told);
    const phone = node.connect(7, 'phone');
    const tablet = node.connect(7, 'tablet');
    node.disconnect(phone);
    await pass(5_000);
    expect(told).toEqual(['online 7']);
    node.disconnect(tablet);
    await pass(DEBOUNCE_MS - 1);
    expect(told).toEqual(['online 7']);
    await pass(1);
    expect(told).toEqual(['online 7', 'offline 7']);
    expect(node.presence.waitingCount).toBe(0);
  });

  it('a user who comes back within the debounce was never away', async () => {
    const node = new TestNode(told);
    for (let i = 0; i < 5; i++) {
      node.disconnect(node.connect(7));
      await pass(DEBOUNCE_MS / 2);
    }
    expect(told).toEqual(['online 7']);
    await pass(DEBOUNCE_MS);
    expect(told).toEqual(['online 7', 'offline 7']);
    node.connect(7);
    expect(told).toEqual(['online 7', 'offline 7', 'online 7']);
  });

  it('a channel without a user says nothing', async () => {
    const node = new TestNode(told);
    node.disconnect(node.connect(0));
    await pass(5_000);
    expect(told).toEqual([]);
  });

  it('what cannot be kept is counted', () => {
    const node = new TestNode(told, undefined, 'node-a', 2);
    for (let mid = 1; mid <= 5; mid++) node.disconnect(node.connect(mid));
    expect([node.presence.waitingCount, node.presence.lostCount]).toEqual([2, 3]);
  });

  it('a node that stops decides at once', async () => {
    const node = new TestNode(told);
    for (let mid = 1; mid <= 600; mid++) node.disconnect(node.connect(mid));
    told.splice(0);
    await node.presence.flush(1_000);
    expect(told).toHaveLength(600);
    expect([node.presence.waitingCount, node.presence.lostCount]).toEqual([0, 0]);
  });
});

describe('in a cluster', () => {
  let cluster: TestCluster;
  let a: TestNode;
  let b: TestNode;
  beforeEach(() => {
    cluster = new TestCluster();
    a = new TestNode(told, cluster, 'node-a');
    b = new TestNode(told, cluster, 'node-b');
  });

  it('a user with a device on another node is neither offline nor online anew', async () => {
    const here = a.connect(7);
    await pass(0);
    const there = b.connect(7);
    await pass(0);
    a.disconnect(here);
    await pass(5_000);
    expect(told).toEqual(['online 7']);
    b.disconnect(there);
    await pass(5_000);
    expect(told).toEqual(['online 7', 'offline 7']);
  });

  it('is told offline once where his devices leave two nodes at the same time', async () => {
    const here = a.connect(7);
    const there = b.connect(7);
    await pass(0);
    a.disconnect(here);
    b.disconnect(there);
    await pass(5_000);
    expect(told).toEqual(['online 7', 'offline 7']);
  });

  it('is not told offline who arrives elsewhere while his devices are asked for', async () => {
    const here = a.connect(7);
    await pass(0);
    cluster.whileAsked = () => {
      cluster.whileAsked = () => {};
      b.connect(7);
      // His mark is fresh before the claim.
      void cluster.arrived([{ mid: 7, token: 'early' }]);
    };
    a.disconnect(here);
    await pass(5_000);
    expect(told).toEqual(['online 7']);
  });

  it('waits while Redis is away, and tells once it answers', async () => {
    const session = a.connect(7);
    await pass(0);
    cluster.isAway = true;
    a.disconnect(session);
    a.connect(8);
    await pass(60_000);
    expect(told).toEqual(['online 7']);
    cluster.isAway = false;
    await pass(2_000);
    expect(told.toSorted()).toEqual(['offline 7', 'online 7', 'online 8']);
  });

  it('tells once where the answer to a claim was lost', async () => {
    cluster.lostAnswers = 1;
    const session = a.connect(7);
    await pass(5_000);
    expect(told).toEqual(['online 7']);
    cluster.lostAnswers = 1;
    a.disconnect(session);
    await pass(5_000);
    expect(told).toEqual(['online 7', 'offline 7']);
  });

  // A node frozen past its lease fires its timers when it thaws, before it knows what happened.
  it('a node whose lease has ended says nothing until it is live again, and then only of users who are nowhere', async () => {
    const moved = a.connect(7);
    const gone = a.connect(8);
    await pass(0);
    a.disconnect(moved);
    a.disconnect(gone);
    a.isAlive = false;
    await pass(10_000);
    expect(told).toEqual(['online 7', 'online 8']);
    b.connect(7);
    await pass(0);
    a.nodeEpoch = 2;
    a.isAlive = true;
    await pass(DEBOUNCE_MS - 100);
    expect(told).toEqual(['online 7', 'online 8']);
    await pass(DEBOUNCE_MS + 1_000);
    expect(told).toEqual(['online 7', 'online 8', 'offline 8']);
  });

  it('a node whose lease ends while it asks does not believe the answer', async () => {
    const session = a.connect(7);
    await pass(0);
    cluster.whileAsked = () => {
      a.isAlive = false;
    };
    a.disconnect(session);
    await pass(DEBOUNCE_MS + 10);
    expect(told).toEqual(['online 7']);
    expect(cluster.marks.get(7)).toMatch(/^on /);
  });

  it('tells offline once where two survivors sweep the devices of a dead node', async () => {
    const phone = a.connect(7, 'phone');
    const tablet = a.connect(7, 'tablet');
    await pass(0);
    a.presence.close();
    for (const [survivor, session] of [
      [b, phone],
      [new TestNode(told, cluster, 'node-c'), tablet],
    ] as const) {
      cluster.sessions.remove(session);
      survivor.presence.disconnected(session);
    }
    await pass(5_000);
    expect(told).toEqual(['online 7', 'offline 7']);
  });

  // Whatever happens on whichever node: the last word about a user is the truth, no "offline" is told twice in a row, and
  // "online" is only where the answer to a claim was lost and the user came back on another node.
  it('says online and offline in turns, and the truth in the end, under random moves, outages and lost answers', async () => {
    const step = fc.record({
      kind: fc.constantFrom('connect', 'connect', 'disconnect', 'disconnect', 'away', 'back', 'lost answer', 'pass'),
      node: fc.boolean(),
      mid: fc.constantFrom(1, 2, 3),
      waitMs: fc.constantFrom(0, 1, 300, 999, 1_000, 1_500),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        told = [];
        const redis = new TestCluster();
        const nodes = [new TestNode(told, redis, 'node-a'), new TestNode(told, redis, 'node-b')] as const;
        const open: { node: TestNode; session: Session }[] = [];
        for (const [index, { kind, node: isFirst, mid, waitMs }] of steps.entries()) {
          const node = nodes[isFirst ? 0 : 1];
          if (kind === 'connect') open.push({ node, session: node.connect(mid, `device-${index}`) });
          else if (kind === 'disconnect') {
            const [gone] = open.splice(index % Math.max(1, open.length), 1);
            gone?.node.disconnect(gone.session);
          } else if (kind === 'away' || kind === 'back') redis.isAway = kind === 'away';
          else if (kind === 'lost answer') redis.lostAnswers = 1;
          await pass(waitMs);
        }
        redis.isAway = false;
        redis.lostAnswers = 0;
        await pass(20_000);
        for (const mid of [1, 2, 3]) {
          const words = told.filter((line) => line.endsWith(` ${mid}`)).map((line) => line.split(' ')[0]);
          expect(words.join(' ')).not.toContain('offline offline');
          if (!steps.some(({ kind }) => kind === 'lost answer'))
            expect(words.join(' ')).not.toMatch(/(^| )online online/);
          if (redis.sessions.byMids([mid]).length > 0) expect(words.at(-1)).toBe('online');
          else expect(words.at(-1)).not.toBe('online');
        }
        for (const node of nodes) expect(node.presence.waitingCount).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
