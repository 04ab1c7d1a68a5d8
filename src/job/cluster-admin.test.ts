import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BusNodeMessage } from '../protocol/index.js';
import type { ClusterBus, Session } from '../push/index.js';
import { ClusterAdmin } from './cluster-admin.js';

const session = (key: string, mid: number, serverId: string): Session => ({
  key,
  mid,
  serverId,
  nodeEpoch: 1,
  bucket: 1,
  connId: 1,
  platform: '',
  remoteIp: '',
  sinceMs: 0,
});
const SESSIONS = [session('k1', 1, 'a'), session('k2', 2, 'b'), session('k3', 2, 'c'), session('k4', 4, 'b')];
const ADVICE = { code: 3501, reason: 'bye', reconnect: false, retryAfterMs: 0 };

function setUp() {
  const asked: [serverId: string, message: BusNodeMessage][] = [];
  let publish: (serverId: string, message: BusNodeMessage) => Promise<number> = async () => 1;
  const bus: ClusterBus = {
    serverId: 'a',
    isUp: true,
    publishRoom: async () => 1,
    publishAll: async () => 1,
    flush: () => {},
    mayBeLost: () => {},
    publishNode: (serverId, message) => {
      asked.push([serverId, message]);
      return publish(serverId, message);
    },
  };
  const own: unknown[][] = [];
  const count = (...call: unknown[]) => {
    own.push(call);
    return 1;
  };
  const admin = new ClusterAdmin({
    bus,
    sessions: {
      byKeys: async (keys) => keys.map((key) => SESSIONS.find((one) => one.key === key)),
      byMids: async (mids) => SESSIONS.filter(({ mid }) => mids.includes(mid)),
    },
    comet: {
      disconnect: (channels) => count('disconnect', channels.keys),
      joinRooms: (channels, rooms) => count('join', channels.keys, rooms),
      leaveRooms: (channels, rooms) => count('leave', channels.keys, rooms),
    },
    deadlineMs: 1_000,
  });
  const answer = (serverId: string, answered: number) => {
    const message = asked.find(([to]) => to === serverId)?.[1];
    if (message === undefined || !('requestId' in message)) throw new Error(`${serverId} was not asked`);
    admin.answered(message.requestId, answered);
  };
  return {
    admin,
    asked,
    own,
    answer,
    setPublish: (fn: typeof publish) => {
      publish = fn;
    },
  };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('administrative calls over the cluster', () => {
  it('ask each node once that has one of the channels, and add up what all have found', async () => {
    const { admin, asked, own, answer } = setUp();
    const counting = admin.disconnect({ keys: ['k1', 'k2', 'nobody'], mids: [2, 4] }, ADVICE);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.map(([serverId, { kind }]) => [serverId, kind])).toEqual([
      ['b', 'disconnect'],
      ['c', 'disconnect'],
    ]);
    expect(asked[0]?.[1]).toMatchObject({ keys: ['k1', 'k2', 'nobody'], mids: [2, 4], advice: ADVICE });
    answer('b', 2);
    answer('c', 1);
    answer('c', 100);
    expect(await counting).toBe(4);
    expect(own).toEqual([['disconnect', ['k1', 'k2', 'nobody']]]);
  });

  it('need no other node for channels of this one', async () => {
    const { admin, asked, own } = setUp();
    expect(await admin.joinRooms({ keys: ['k1'], mids: [] }, ['r'])).toBe(1);
    expect(await admin.leaveRooms({ keys: ['k1'], mids: [] }, ['r'])).toBe(1);
    expect([asked, own]).toEqual([
      [],
      [
        ['join', ['k1'], ['r']],
        ['leave', ['k1'], ['r']],
      ],
    ]);
  });

  it('reject when a node does not answer in time, or cannot be asked, and name it', async () => {
    const { admin, setPublish, answer } = setUp();
    const counting = admin.joinRooms({ keys: [], mids: [2] }, ['r']);
    const rejected = expect(counting).rejects.toMatchObject({ code: 'NODE_NO_ANSWER', details: { serverId: 'c' } });
    await vi.advanceTimersByTimeAsync(1);
    answer('b', 1);
    await vi.advanceTimersByTimeAsync(1_000);
    await rejected;
    setPublish(async () => {
      throw new Error('away');
    });
    await expect(admin.joinRooms({ keys: ['k2'], mids: [] }, ['r'])).rejects.toMatchObject({ code: 'NODE_NO_ANSWER' });
    expect(vi.getTimerCount()).toBe(0);
  });
});
