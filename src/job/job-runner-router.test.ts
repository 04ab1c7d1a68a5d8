import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import type { InboxDelivery, NodeDirectory, NodeRecord, PushTarget, Session } from '../push/index.js';
import { JobNodes } from './job-runner-nodes.js';
import { PushRouter } from './job-runner-router.js';

const OLD = { serverId: 'b', nodeEpoch: 2 };
const NEW = { serverId: 'b', nodeEpoch: 3 };
let nodes: JobNodes | undefined;

/** `b` lives under epoch 3; `moved` is on `a` by now, every other key still on `b`. */
function router(unsettled: readonly string[] = []): PushRouter {
  const live = [{ serverId: 'a', nodeEpoch: 1 }, NEW].map(
    (node) => ({ ...node, roles: ['comet'] }) as unknown as NodeRecord,
  );
  const directory = {
    serverId: 'job',
    nodeEpoch: 1,
    live: () => live,
    isLive: (serverId, nodeEpoch) => live.some((one) => one.serverId === serverId && one.nodeEpoch === nodeEpoch),
    onLost: () => () => {},
  } satisfies Partial<NodeDirectory> as unknown as NodeDirectory;
  nodes = new JobNodes(directory, new ManualClock(0), 1_000);
  const sessionOf = (key: string) =>
    ({ key, mid: 1, ...(key === 'moved' ? { serverId: 'a', nodeEpoch: 1 } : NEW) }) as unknown as Session;
  return new PushRouter({
    sessions: { byKeys: async (keys) => keys.map(sessionOf), byMids: async () => [] },
    roomNodes: { nodesOf: async (rooms) => rooms.map(() => []), sweep: () => {} },
    nodes,
    unsettled: () => unsettled,
    appender: undefined,
  });
}

function delivery(target: PushTarget): InboxDelivery {
  const command = { target, op: 1000, body: new Uint8Array(1), messageId: new Uint8Array(8) };
  return { command, target, isRerouted: false };
}

afterEach(() => nodes?.close());

describe('parts of pushes for an incarnation that is gone', () => {
  it('of rooms and of all go to the incarnation that follows, as the same part', async () => {
    // They went nowhere: after an outage of Redis durable pushes to rooms were lost.
    const rooms = delivery({ kind: 'rooms', rooms: ['live://1'] });
    const all = delivery({ kind: 'all', speedPerSec: 0 });
    const routed = await router().reroute([rooms, all].map((each) => ({ node: OLD, delivery: each })));
    expect(routed).toEqual([[{ node: NEW, delivery: rooms }], [{ node: NEW, delivery: all }]]);
  });

  it('of rooms go nowhere where the server is gone', async () => {
    const gone = { serverId: 'c', nodeEpoch: 9 };
    const part = { node: gone, delivery: delivery({ kind: 'rooms', rooms: ['live://1'] }) };
    expect(await router().reroute([part])).toEqual([[]]);
  });

  it('of keys follow them: to the same server as the same part, elsewhere as another one', async () => {
    // As another part the same server delivered it again, where the former incarnation had had it: a repeat, out of order.
    const part = { node: OLD, delivery: delivery({ kind: 'keys', keys: ['stayed', 'moved'] }) };
    const [parts = []] = await router().reroute([part]);
    const facts = parts.map(({ node, delivery: { target, isRerouted } }) => [node.serverId, target, isRerouted]);
    expect(facts).toHaveLength(2);
    expect(facts).toContainEqual(['b', { kind: 'keys', keys: ['stayed'] }, false]);
    expect(facts).toContainEqual(['a', { kind: 'keys', keys: ['moved'] }, true]);
  });
});

describe('pushes while a node writes its sessions and rooms again', () => {
  it('go to it besides, each once, because it may have what Redis does not know of', async () => {
    const command = (target: PushTarget) => ({
      target,
      op: 1000,
      body: new Uint8Array(1),
      messageId: new Uint8Array(8),
    });
    const commands = [
      command({ kind: 'keys', keys: ['stayed', 'moved'] }),
      command({ kind: 'mids', mids: [7] }),
      command({ kind: 'rooms', rooms: ['live://1'] }),
    ];
    const where = async (unsettled: readonly string[]) =>
      (await router(unsettled).route(commands)).map(({ parts }) =>
        parts.map(({ node, delivery: { target } }) => [
          `${node.serverId}@${node.nodeEpoch}`,
          target.kind === 'keys'
            ? target.keys
            : target.kind === 'mids'
              ? target.mids
              : 'rooms' in target
                ? target.rooms
                : [],
        ]),
      );
    expect(await where([])).toEqual([
      [
        ['b@3', ['stayed']],
        ['a@1', ['moved']],
      ],
      [],
      [],
    ]);
    expect(await where(['b', 'not a comet'])).toEqual([
      [
        ['b@3', ['stayed', 'moved']],
        ['a@1', ['moved']],
      ],
      [['b@3', [7]]],
      [['b@3', ['live://1']]],
    ]);
  });
});
