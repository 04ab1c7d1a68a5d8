import { describe, expect, it } from 'vitest';
import { eventually } from '../../test/kit/index.js';
import type { BusNodeMessage } from '../protocol/index.js';
import type { ClusterBus, PushCommand } from '../push/index.js';
import { memoryLog } from '../telemetry/index.js';
import { BusDispatcher } from './bus-dispatcher.js';
import { BusInlet } from './bus-inlet.js';
import { ClusterAdmin } from './cluster-admin.js';
import { PushIntake } from './push-intake.js';

const PAYLOAD = { op: 7, body: new Uint8Array([1]), messageId: new Uint8Array(8).fill(3) };
const ADVICE = { code: 3500, reason: 'taken over', reconnect: false, retryAfterMs: 0 };

function setUp() {
  const pushed: PushCommand[] = [];
  const gaps: unknown[] = [];
  const calls: unknown[][] = [];
  const answers: unknown[] = [];
  const { logger: log } = memoryLog();
  const bus: ClusterBus = {
    serverId: 'a',
    isUp: true,
    publishRoom: async () => 1,
    publishAll: async () => 1,
    flush: () => {},
    mayBeLost: () => {},
    publishNode: async (serverId: string, message: BusNodeMessage) => {
      answers.push([serverId, message]);
      if (serverId === 'gone') throw new Error('away');
      return 1;
    },
  };
  const called =
    (name: string, count: number) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return count;
    };
  const comet = { disconnect: called('disconnect', 2), joinRooms: called('join', 3), leaveRooms: called('leave', 4) };
  const inlet = new BusInlet(
    { maxCount: 10, maxBytes: 10_000 },
    {
      queue: {
        push: (command) => {
          pushed.push(command);
          return 'ok';
        },
        gauges: () => ({ queuedCount: 0 }),
      },
      comet: {
        tellGap: (scope) => {
          gaps.push(scope);
          return 'ok';
        },
      },
      log,
    },
  );
  const sessions = { byKeys: async () => [], byMids: async () => [] };
  const errors = { report: called('bad push', 0) };
  const dispatcher = new BusDispatcher({
    bus,
    inlet,
    intake: new PushIntake(100, { inlet, errors, liveNodeCount: () => 1 }),
    admin: new ClusterAdmin({ bus, sessions, comet, deadlineMs: 100 }),
    comet,
    closeConnection: called('close', 0),
    onHistory: called('history', 0),
    onRoomsMissed: called('rooms missed', 0),
    log,
  });
  return { dispatcher, pushed, gaps, calls, answers };
}

describe('the dispatcher', () => {
  it('hands pushes of all kinds to the inlet with their ids, in order', () => {
    const { dispatcher, pushed } = setUp();
    dispatcher.onRoom('r', { kind: 'room', ...PAYLOAD });
    dispatcher.onRoom('r', { kind: 'room', ...PAYLOAD, place: { epoch: 4, offset: 5 } });
    dispatcher.onAll({ kind: 'all', ...PAYLOAD, speedPerSec: 6 });
    dispatcher.onNode({ kind: 'keys', ...PAYLOAD, keys: ['k'], ignoresWatchSet: true }, 'b');
    dispatcher.onNode({ kind: 'mids', ...PAYLOAD, mids: [8] }, 'b');
    dispatcher.onPush(new TextEncoder().encode('{"room":"r","op":7,"body":""}'));
    expect(pushed).toEqual([
      { target: { kind: 'rooms', rooms: ['r'] }, ...PAYLOAD },
      { target: { kind: 'rooms', rooms: ['r'] }, ...PAYLOAD, place: { epoch: 4, offset: 5 } },
      { target: { kind: 'all', speedPerSec: 6 }, ...PAYLOAD },
      { target: { kind: 'keys', keys: ['k'], ignoresWatchSet: true }, ...PAYLOAD },
      { target: { kind: 'mids', mids: [8] }, ...PAYLOAD },
      { target: { kind: 'rooms', rooms: ['r'] }, op: 7, body: new Uint8Array(0) },
    ]);
  });

  it('closes, asks the comet and answers who asked, and survives that nobody can be answered', async () => {
    const { dispatcher, calls, answers } = setUp();
    const owner = { key: 'k', serverId: 'a', nodeEpoch: 1, bucket: 2, connId: 3 };
    dispatcher.onNode({ kind: 'close', owner, advice: ADVICE }, 'b');
    dispatcher.onNode({ kind: 'disconnect', requestId: 1, keys: ['k'], mids: [], advice: ADVICE }, 'b');
    dispatcher.onNode({ kind: 'join', requestId: 2, keys: [], mids: [5], rooms: ['r'] }, 'c');
    dispatcher.onNode({ kind: 'leave', requestId: 3, keys: [], mids: [5], rooms: ['r'] }, 'gone');
    await eventually(() => dispatcher.discards.counts()['answer to a node'] === 1);
    expect(calls.map(([name]) => name)).toEqual(['close', 'disconnect', 'join', 'leave']);
    expect(calls[0]).toEqual(['close', owner, ADVICE]);
    expect(answers).toEqual([
      ['b', { kind: 'answer', requestId: 1, count: 2 }],
      ['c', { kind: 'answer', requestId: 2, count: 3 }],
      ['gone', { kind: 'answer', requestId: 3, count: 4 }],
    ]);
  });

  it('hands on histories, and tells what was missed', async () => {
    const { dispatcher, gaps, calls } = setUp();
    dispatcher.onHistory('r', new Uint8Array([1]));
    dispatcher.onRoomsMissed(['r']);
    dispatcher.onRoomsMissed(['s'], true);
    dispatcher.onMissed({ kind: 'room', room: 'x' });
    dispatcher.onMissed({ kind: 'direct' });
    await eventually(() => gaps.length === 2);
    expect(gaps).toEqual([{ kind: 'room', room: 'x' }, { kind: 'direct' }]);
    expect(calls).toEqual([
      ['history', 'r', new Uint8Array([1])],
      ['rooms missed', ['r'], false],
      ['rooms missed', ['s'], true],
    ]);
  });
});
