import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLOSE } from '../errors/index.js';
import type { DisconnectAdvice, PutSession, Session, SessionOwner } from '../push/index.js';
import { METRIC } from '../telemetry/index.js';
import type { CometClusterParts } from './comet-control.js';
import { type ControlNode, startControlNode } from './fixtures/control-node.js';
import { CONNECT_STATUS, MESSAGE } from './thread-messages.js';

/** The cluster's half, each answer given by the test. */
class Cluster implements CometClusterParts {
  readonly puts: { readonly session: Session; readonly answer: (result: PutSession) => Promise<void> }[] = [];
  readonly removed: string[] = [];
  readonly mails: [owner: SessionOwner, advice: DisconnectAdvice][] = [];
  /** Rooms that a link is asked for and not acknowledged. */
  readonly linking = new Map<string, () => Promise<void>>();
  readonly linked = new Set<string>();
  readonly #links = new Map<string, Promise<void>>();
  readonly nodes = {
    serverId: 'node-a',
    nodeEpoch: 3,
    live: () => [],
    isLive: () => true,
    onLost: () => () => {},
  };
  readonly mail = {
    closeConnection: (owner: SessionOwner, advice: DisconnectAdvice) => void this.mails.push([owner, advice]),
  };
  readonly rooms = {
    link: (room: string) => {
      if (this.linked.has(room)) return undefined;
      const before = this.#links.get(room);
      if (before !== undefined) return before;
      const link = new Promise<void>((resolve) => {
        this.linking.set(room, async () => {
          this.linking.delete(room);
          this.#links.delete(room);
          this.linked.add(room);
          resolve();
          await settled();
        });
      });
      this.#links.set(room, link);
      return link;
    },
    unlink: (room: string) => void this.linked.delete(room),
  };
  readonly sessions = {
    put: (session: Session) =>
      new Promise<PutSession>((resolve) => {
        this.puts.push({
          session,
          answer: async (result) => {
            resolve(result);
            await settled();
          },
        });
      }),
    remove: async (owner: SessionOwner) => void this.removed.push(`${owner.key}/${owner.bucket}/${owner.connId}`),
    removeAll: async (owners: readonly SessionOwner[]) => {
      for (const owner of owners) await this.sessions.remove(owner);
    },
    byKeys: async () => [],
    byMids: async () => [],
  };

  async answerPut(index: number, result: PutSession = STORED): Promise<void> {
    await this.puts[index]?.answer(result);
  }
}

const STORED: PutSession = { status: 'stored', previous: undefined };
/** What is resolved has been acted upon. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
const takenOver = (connId: number) => [
  MESSAGE.CLOSE,
  0,
  [connId],
  CLOSE.TAKEN_OVER.code,
  CLOSE.TAKEN_OVER.reason,
  false,
  0,
];
const failed = (connId: number) => [MESSAGE.CONNECTED, connId, CONNECT_STATUS.FAILED, []];
const elsewhere: Session = {
  key: 'device',
  mid: 42,
  serverId: 'node-b',
  nodeEpoch: 1,
  bucket: 2,
  connId: 99,
  platform: 'ios',
  remoteIp: '10.9.9.9',
  sinceMs: 1,
};

let node: ControlNode;
let cluster: Cluster;
beforeEach(() => {
  cluster = new Cluster();
  node = startControlNode(cluster);
});
afterEach(() => node.close());

describe('a connect in a cluster', () => {
  it('is answered when its session is stored and its rooms are linked, with the offsets of that moment', async () => {
    const [first, second] = node.buckets;
    cluster.linked.add('live://1');
    node.connect(second, 1, 1, 'other', ['live://1']);
    await cluster.answerPut(0);
    second.take();
    node.connect(first, 7, 42, 'device', ['live://1', 'live://2']);
    expect(node.sessions.byKey('device')?.connId).toBe(7);
    await cluster.answerPut(1);
    expect(first.take()).toEqual([]);
    // A push to the room while the connect waits: the answer counts it.
    node.sequencer.pushRoom('live://1', 1000, new Uint8Array(1));
    await cluster.linking.get('live://2')?.();
    const [message] = first.take() as [unknown[]];
    expect(message).toEqual([
      MESSAGE.CONNECTED,
      7,
      CONNECT_STATUS.STORED,
      [
        [1, 1_001, 1],
        [2, 1_002, 0],
      ],
    ]);
    expect(cluster.puts[1]?.session).toEqual(node.sessions.byKey('device'));
  });

  it('waits for the slower of the two, whichever it is', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['live://1']);
    await cluster.linking.get('live://1')?.();
    expect(bucket.take()).toEqual([]);
    await cluster.answerPut(0);
    expect(bucket.take()).toEqual([[MESSAGE.CONNECTED, 7, CONNECT_STATUS.STORED, [[1, 1_001, 0]]]]);
  });

  it("tells the key's owner on another node, and no owner on this one", async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device');
    await cluster.answerPut(0, { status: 'stored', previous: elsewhere });
    const { code, reason } = CLOSE.TAKEN_OVER;
    expect(cluster.mails).toEqual([[elsewhere, { code, reason, reconnect: false, retryAfterMs: 0 }]]);
    node.connect(bucket, 8, 42, 'device');
    await cluster.answerPut(1, { status: 'stored', previous: { ...elsewhere, serverId: 'node-a' } });
    expect(cluster.mails.length).toBe(1);
  });

  it("with another user's key is undone here, and opens no room", async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['live://1']);
    await cluster.linking.get('live://1')?.();
    await cluster.answerPut(0, { status: 'foreign', ownerMid: 43 });
    expect(bucket.take()).toEqual([[MESSAGE.CONNECTED, 7, CONNECT_STATUS.FOREIGN, []]]);
    expect([node.comet.connectionCount(), node.comet.ipCount(), node.counters.get(METRIC.sessions)]).toEqual([0, 0, 0]);
    expect([node.sequencer.roomCount(), [...cluster.linked]]).toEqual([0, []]);
  });

  it('that a younger one elsewhere has overtaken ends as taken over', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', []);
    await cluster.answerPut(0, { status: 'superseded', by: elsewhere });
    expect(bucket.take()).toEqual([takenOver(7), failed(7)]);
    expect([node.comet.connectionCount(), node.comet.ipCount()]).toEqual([0, 0]);
  });

  it('whose channel ends meanwhile leaves no session, no room and no link', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['live://1']);
    node.say(bucket, [MESSAGE.DISCONNECT, 7, 'device']);
    expect([node.comet.connectionCount(), cluster.removed]).toEqual([0, []]);
    await cluster.linking.get('live://1')?.();
    await cluster.answerPut(0, { status: 'stored', previous: elsewhere });
    // The bucket holds the rooms until it is answered.
    expect(bucket.take()).toEqual([failed(7)]);
    expect([cluster.removed, node.sequencer.roomCount(), [...cluster.linked]]).toEqual([['device/1/7'], 0, []]);
    expect(cluster.mails.length).toBe(1);
  });

  it('that is taken over in this node while it waits leaves the key to the younger one', async () => {
    const [first, second] = node.buckets;
    node.connect(first, 7, 42, 'device');
    node.connect(second, 8, 42, 'device');
    expect(first.take()).toEqual([takenOver(7)]);
    node.say(first, [MESSAGE.DISCONNECT, 7, 'device']);
    await cluster.answerPut(0);
    await cluster.answerPut(1, { status: 'stored', previous: cluster.puts[0]?.session });
    expect([first.take(), second.take()]).toEqual([[failed(7)], [[MESSAGE.CONNECTED, 8, CONNECT_STATUS.STORED, []]]]);
    expect([cluster.removed, node.sessions.byKey('device')?.connId]).toEqual([['device/1/7'], 8]);
  });
});

describe('a disconnect in a cluster', () => {
  it('removes the session everywhere, also that of a channel which was taken over here', async () => {
    const [first, second] = node.buckets;
    node.connect(first, 7, 42, 'device');
    await cluster.answerPut(0);
    node.connect(second, 8, 42, 'device');
    node.say(first, [MESSAGE.DISCONNECT, 7, 'device']);
    await cluster.answerPut(1);
    node.say(second, [MESSAGE.DISCONNECT, 8, 'device']);
    expect(cluster.removed).toEqual(['device/1/7', 'device/2/8']);
    expect(node.comet.connectionCount()).toBe(0);
  });
});

describe('a bucket of a cluster node', () => {
  it('that is lost takes its sessions everywhere with it, those under way too, and is answered nothing', async () => {
    const [first, second] = node.buckets;
    node.connect(first, 1, 1, 'a', ['live://1']);
    await cluster.linking.get('live://1')?.();
    await cluster.answerPut(0);
    node.connect(first, 2, 2, 'b', ['live://2']);
    node.say(first, [MESSAGE.OCCUPY, 5, ['live://3']]);
    node.connect(second, 1, 3, 'c', []);
    await cluster.answerPut(2);
    first.take();
    node.comet.bucketLost(1);
    await settled();
    expect(cluster.removed).toEqual(['a/1/1', 'b/1/2']);
    await cluster.linking.get('live://2')?.();
    await cluster.linking.get('live://3')?.();
    await cluster.answerPut(1);
    expect(cluster.removed).toEqual(['a/1/1', 'b/1/2', 'b/1/2']);
    expect([first.take(), node.sequencer.roomCount(), [...cluster.linked]]).toEqual([[], 0, []]);
    expect(node.sessions.byKey('c')?.bucket).toBe(2);
  });

  it('that was reset is not answered what it asked before, and its sessions under way are removed', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device', ['live://1']);
    node.say(bucket, [MESSAGE.OCCUPY, 5, ['live://1']]);
    node.say(bucket, [MESSAGE.DISCONNECT, 7, 'device']);
    node.say(bucket, [MESSAGE.RESET]);
    await cluster.linking.get('live://1')?.();
    await cluster.answerPut(0);
    expect([bucket.take(), cluster.removed, node.sequencer.roomCount()]).toEqual([[], ['device/1/7'], 0]);
  });
});

describe('rooms of a cluster node', () => {
  it('are opened when they are linked, at once where they are', async () => {
    const [bucket] = node.buckets;
    node.say(bucket, [MESSAGE.OCCUPY, 5, ['live://1']]);
    expect(bucket.take()).toEqual([]);
    await cluster.linking.get('live://1')?.();
    expect(bucket.take()).toEqual([[MESSAGE.OCCUPIED, 5, [[1, 1_001, 0]]]]);
    node.say(bucket, [MESSAGE.OCCUPY, 6, ['live://1']]);
    expect(bucket.take()).toEqual([[MESSAGE.OCCUPIED, 6, [[1, 1_001, 0]]]]);
  });

  it('are unlinked when no bucket of the node has members or waits for them', async () => {
    const [first, second] = node.buckets;
    cluster.linked.add('live://1');
    node.say(first, [MESSAGE.OCCUPY, 1, ['live://1']]);
    node.say(second, [MESSAGE.OCCUPY, 1, ['live://1']]);
    node.say(first, [MESSAGE.VACATE, 1]);
    expect([...cluster.linked]).toEqual(['live://1']);
    node.connect(first, 7, 42, 'device', ['live://1']);
    node.say(second, [MESSAGE.VACATE, 1]);
    expect([node.sequencer.roomCount(), [...cluster.linked]]).toEqual([0, ['live://1']]);
    await cluster.answerPut(0);
    expect(first.take().at(-1)).toEqual([MESSAGE.CONNECTED, 7, CONNECT_STATUS.STORED, [[1, 1_002, 0]]]);
    node.say(first, [MESSAGE.VACATE, 1]);
    expect([...cluster.linked]).toEqual([]);
  });

  it('that an administrative call joins are linked before their bucket is answered', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device');
    await cluster.answerPut(0);
    bucket.take();
    const joined = node.comet.joinRooms({ keys: ['device'], mids: [] }, ['live://1']);
    expect(bucket.take()).toEqual([[MESSAGE.JOIN, 1, [7], ['live://1']]]);
    // What the bucket does with it: open the room, and answer when it is open.
    node.say(bucket, [MESSAGE.OCCUPY, 1, ['live://1']]);
    expect(bucket.take()).toEqual([]);
    await cluster.linking.get('live://1')?.();
    expect(bucket.take()).toEqual([[MESSAGE.OCCUPIED, 1, [[1, 1_001, 0]]]]);
    node.say(bucket, [MESSAGE.DONE, 1, 1]);
    expect(await joined).toBe(1);
  });
});

describe('mail from another node', () => {
  const advice = { code: 3501, reason: 'bye', reconnect: false, retryAfterMs: 0 };
  it('closes a connection that still has its key, under any incarnation of this process, and no other', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device');
    await cluster.answerPut(0);
    bucket.take();
    const owner: SessionOwner = { key: 'device', serverId: 'node-a', nodeEpoch: 3, bucket: 1, connId: 7 };
    for (const wrong of [
      { connId: 8 },
      { bucket: 2 },
      { serverId: 'node-b' },
      { nodeEpoch: 2 },
      { nodeEpoch: 5 },
      { key: 'none' },
    ]) {
      node.comet.closeConnection({ ...owner, ...wrong }, advice);
    }
    expect(bucket.take()).toEqual([]);
    // This process has taken a new lease since.
    cluster.nodes.nodeEpoch = 4;
    node.comet.closeConnection({ ...owner, nodeEpoch: 4 }, advice);
    expect(bucket.take()).toEqual([[MESSAGE.CLOSE, 0, [7], 3501, 'bye', false, 0]]);
  });
});

describe('what a late write found', () => {
  it('counts for the connection that still has the key', async () => {
    const [bucket] = node.buckets;
    node.connect(bucket, 7, 42, 'device');
    await cluster.answerPut(0);
    bucket.take();
    const session = node.sessions.byKey('device') as Session;
    node.comet.onLateWrite({ ...session }, { status: 'foreign', ownerMid: 43 });
    expect([bucket.take(), cluster.mails]).toEqual([[], []]);
    node.comet.onLateWrite(session, { status: 'stored', previous: elsewhere });
    expect(cluster.mails.map(([owner]) => owner)).toEqual([elsewhere]);
    node.comet.onLateWrite(session, { status: 'foreign', ownerMid: 43 });
    const { code, reason } = CLOSE.FORBIDDEN;
    expect(bucket.take()).toEqual([[MESSAGE.CLOSE, 0, [7], code, reason, false, 0]]);
    expect(node.comet.connectionCount()).toBe(0);
  });
});

it('lists its own sessions and takes them all out of the cluster', async () => {
  const [first, second] = node.buckets;
  node.connect(first, 1, 1, 'a');
  node.connect(second, 1, 2, 'b');
  await cluster.answerPut(0);
  await cluster.answerPut(1);
  expect([...node.comet.ownSessions()].map(({ key }) => key)).toEqual(['a', 'b']);
  await node.comet.leaveCluster();
  expect(cluster.removed).toEqual(['a/1/1', 'b/2/1']);
});
