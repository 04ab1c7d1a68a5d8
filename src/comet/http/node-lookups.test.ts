import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import type { NodeRecord } from '../../push/index.js';
import { type FindNodeMessage, MESSAGE } from '../thread-messages.js';
import { forwardAddressOf } from './forward-address.js';
import { NO_PLAIN_PORT, NodeLookups } from './node-lookups.js';
import { nodeTagOf } from './session-token.js';

function rig() {
  const asked: FindNodeMessage[] = [];
  const clock = new ManualClock(0);
  const lookups = new NodeLookups((message) => void asked.push(message), clock);
  const answer = (index: number, host: string, port: number) =>
    lookups.onNodeFound([MESSAGE.NODE_FOUND, asked[index]![1], host, port]);
  return { asked, clock, lookups, answer };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a question for a node', () => {
  it('is answered with its address, which is kept for a second', async () => {
    const { asked, clock, lookups, answer } = rig();
    const found = lookups.find('aa');
    answer(0, '10.0.0.1', 3102);
    expect(await found).toEqual({ host: '10.0.0.1', port: 3102 });
    expect(await lookups.find('aa')).toEqual({ host: '10.0.0.1', port: 3102 });
    expect(asked).toEqual([[MESSAGE.FIND_NODE, 1, 'aa']]);
    clock.advance(1_001);
    const again = lookups.find('aa');
    answer(1, '', 0);
    expect(await again).toBe('gone');
  });

  it('keeps answers apart, and those that come twice or unasked out', async () => {
    const { lookups, answer } = rig();
    const [first, second] = [lookups.find('aa'), lookups.find('bb')];
    answer(1, 'b', 2);
    answer(1, 'c', 3);
    answer(0, 'a', 1);
    lookups.onNodeFound([MESSAGE.NODE_FOUND, 99, 'x', 9]);
    expect(await Promise.all([first, second])).toEqual([
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ]);
  });

  it('that nobody answers ends, and is asked anew the next time', async () => {
    vi.useFakeTimers();
    const { asked, lookups } = rig();
    const found = lookups.find('aa');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await found).toBe('unknown');
    void lookups.find('aa');
    expect(asked.length).toBe(2);
  });
});

it('of a node that takes no plain requests are told so', async () => {
  const { lookups, answer } = rig();
  const found = lookups.find('aa');
  answer(0, 'vm', NO_PLAIN_PORT);
  expect(await found).toBe('closed');
});

describe('the address that requests for a node are taken to', () => {
  const node = (members: Partial<NodeRecord>) =>
    ({ serverId: 'n', addrs: [], hostname: 'vm', wsPort: 3102, ...members }) as unknown as NodeRecord;

  it.each([
    ['where it binds', { forwardHost: '10.0.0.1', addrs: ['a.example'] }, { host: '10.0.0.1', port: 3102 }],
    ['its first address where it binds to all', { addrs: ['a.example'] }, { host: 'a.example', port: 3102 }],
    ['its host name where it has none', {}, { host: 'vm', port: 3102 }],
    ['told to be closed where it takes no plain requests', { wsPort: 0 }, { host: 'vm', port: NO_PLAIN_PORT }],
    ['none where no node has the tag', { serverId: 'm' }, undefined],
  ])('is %s', (_, members, expected) => {
    expect(forwardAddressOf([node(members)], nodeTagOf('n'))).toEqual(expected);
  });
});
