import { afterEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import type { NodeRecord } from '../../push/index.js';
import { type FindNodeMessage, MESSAGE } from '../thread-messages.js';
import { forwardAddressOf } from './forward-address.js';
import { NodeLookups } from './node-lookups.js';
import { nodeTagOf } from './session-token.js';

function rig() {
  const asked: FindNodeMessage[] = [];
  const clock = new ManualClock(0);
  const lookups = new NodeLookups((message) => void asked.push(message), clock);
  const answer = (index: number, host: string, port: number, isTls = false) =>
    lookups.onNodeFound([MESSAGE.NODE_FOUND, asked[index]![1], host, port, isTls]);
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
    expect(await found).toEqual({ host: '10.0.0.1', port: 3102, isTls: false });
    expect(await lookups.find('aa')).toEqual({ host: '10.0.0.1', port: 3102, isTls: false });
    expect(asked).toEqual([[MESSAGE.FIND_NODE, 1, 'aa']]);
    clock.advance(1_001);
    const again = lookups.find('aa');
    answer(1, '', 0);
    expect(await again).toBe('gone');
  });

  it('keeps answers apart, and those that come twice or unasked out', async () => {
    const { lookups, answer } = rig();
    const [first, second] = [lookups.find('aa'), lookups.find('bb')];
    answer(1, 'b', 2, true);
    answer(1, 'c', 3);
    answer(0, 'a', 1);
    lookups.onNodeFound([MESSAGE.NODE_FOUND, 99, 'x', 9, false]);
    expect(await Promise.all([first, second])).toEqual([
      { host: 'a', port: 1, isTls: false },
      { host: 'b', port: 2, isTls: true },
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

describe('the address that requests for a node are taken to', () => {
  const node = (members: Partial<NodeRecord>) =>
    ({ serverId: 'n', addrs: [], hostname: 'vm', wsPort: 3102, wssPort: 3103, ...members }) as unknown as NodeRecord;
  const plain = (host: string) => ({ host, port: 3102, isTls: false });
  const secure = (host: string) => ({ host, port: 3103, isTls: true });

  it.each([
    ['where it binds', { forwardHost: '10.0.0.1', addrs: ['a.example'] }, plain('10.0.0.1')],
    ['its first address where it binds to all', { addrs: ['1.2.3.4', 'a.example'] }, plain('1.2.3.4')],
    ['its host name where it has none', {}, plain('vm')],
    [
      'with TLS alone the first name among its addresses',
      { wsPort: 0, forwardHost: '10.0.0.1', addrs: ['1.2.3.4', '::1', 'a.example', 'b.example'] },
      secure('a.example'),
    ],
    ['with TLS alone and no name where it binds', { wsPort: 0, forwardHost: '::1', addrs: ['1.2.3.4'] }, secure('::1')],
    ['with TLS alone and no address its host name', { wsPort: 0 }, secure('vm')],
    ['none where it has no port', { wsPort: 0, wssPort: 0 }, { host: 'vm', port: 0, isTls: true }],
    ['none where no node has the tag', { serverId: 'm' }, { host: '', port: 0, isTls: false }],
  ])('is %s', (_, members, expected) => {
    expect(forwardAddressOf([node(members)], nodeTagOf('n'))).toEqual(expected);
  });
});
