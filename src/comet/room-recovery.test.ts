import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { decodeRecoverReply } from '../protocol/index.js';
import { MemoryHistory } from '../store/index.js';
import { ModelHistory } from './fixtures/model-history.js';
import { RoomRecovery, type RoomRecoveryOptions } from './room-recovery.js';
import { MESSAGE, RECOVER_STATUS, type RecoveredMessage } from './thread-messages.js';

const ROOM = 'live://1';
const id = (number: number) => Uint8Array.from([0, 0, 0, 0, 0, 0, 0, number]);

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => vi.useRealTimers());

function setUp(options: Partial<RoomRecoveryOptions> = {}) {
  const clock = new ManualClock(0);
  const memory = new MemoryHistory({ rules: new HistoryRules(['live:100:60']), maxBytes: 1e6, firstEpoch: 1, clock });
  const answers: string[] = [];
  let isBlocked = false;
  const counts: number[] = [];
  const recovery = new RoomRecovery(
    { memory, maxMessages: 50, maxBytes: 10_000, bytesPerSec: 1e6, timeoutMs: 1_000, ...options },
    {
      clock,
      counters: { add: (metric, count) => void counts.push(metric, count) },
      canSend: () => !isBlocked,
      send: (thread, message) => void answers.push(`${thread} ${textOf(message)}`),
    },
  );
  const keep = (count: number, text = 'm') => {
    for (let i = 0; i < count; i++) {
      const log = memory.logOf(ROOM)!;
      memory.put(log, 1000, Buffer.from(`${text}${log.offset + 1}`), id(log.offset + 1));
    }
    return memory.existing(ROOM)!;
  };
  const ask = (request: number, epoch: number, offset: number, thread = 1) =>
    recovery.request(thread, [MESSAGE.RECOVER, request, ROOM, epoch, offset]);
  const block = (blocked: boolean) => {
    isBlocked = blocked;
  };
  return { clock, memory, recovery, answers, keep, ask, block };
}

/** `request status offset:body ...` */
function textOf([, request, status, body]: RecoveredMessage): string {
  const name = Object.entries(RECOVER_STATUS).find(([, value]) => value === status)?.[0];
  if (status !== RECOVER_STATUS.RECOVERED) return `${request} ${name}`;
  const reply = decodeRecoverReply('json', body);
  if (!reply.ok || !reply.value.recovered) throw new Error('no recovered packets');
  const parts = reply.value.batches.flatMap((batch) =>
    batch.messages.map((message) => `${message.offset}:${Buffer.from(message.body).toString()}`),
  );
  return [request, name, ...parts].join(' ');
}

/** Let promises run, then the pump. */
async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
  vi.advanceTimersByTime(5);
}

describe('a recovery from memory', () => {
  it('brings everything behind the offset, and an empty body where nothing was missed', () => {
    const { ask, keep, answers } = setUp();
    const { epoch } = keep(4);
    ask(1, epoch, 2);
    ask(2, epoch, 4);
    ask(3, epoch, 0, 2);
    expect(answers).toEqual(['1 1 RECOVERED 3:m3 4:m4', '1 2 RECOVERED', '2 3 RECOVERED 1:m1 2:m2 3:m3 4:m4']);
  });

  it('is refused for another epoch, an offset not reached, a room unknown, too many and too large', () => {
    const { ask, keep, answers, recovery } = setUp({ maxBytes: 2_000 });
    const { epoch } = keep(40);
    ask(1, epoch + 1, 30);
    ask(2, epoch, 41);
    recovery.request(1, [MESSAGE.RECOVER, 3, 'live://9', epoch, 0]);
    ask(4, epoch, 0);
    keep(30, 'x');
    ask(5, epoch, 0);
    ask(6, epoch, 69);
    expect(answers).toEqual([
      '1 1 REFUSED',
      '1 2 REFUSED',
      '1 3 REFUSED',
      // 40 messages of 26 and 27 bytes fit; 70 messages are too many.
      expect.stringMatching(/^1 4 RECOVERED 1:m1 .* 40:m40$/),
      '1 5 REFUSED',
      '1 6 RECOVERED 70:x70',
    ]);
    keep(1, 'y'.repeat(1_990));
    ask(7, epoch, 69);
    expect(answers.at(-1)).toBe('1 7 REFUSED');
  });

  it('is refused where the oldest message is gone, by age too', () => {
    const { ask, keep, answers, clock } = setUp();
    const { epoch } = keep(3);
    clock.advance(61_000);
    keep(1);
    ask(1, epoch, 2);
    ask(2, epoch, 3);
    expect(answers).toEqual(['1 1 REFUSED', '1 2 RECOVERED 4:m4']);
  });

  it('waits for room in the ring, and holds what was numbered by then', () => {
    const { ask, keep, answers, block } = setUp();
    const { epoch } = keep(1);
    block(true);
    ask(1, epoch, 0);
    vi.advanceTimersByTime(50);
    expect(answers).toEqual([]);
    keep(1);
    block(false);
    vi.advanceTimersByTime(5);
    expect(answers).toEqual(['1 1 RECOVERED 1:m1 2:m2']);
  });

  it('is spread over time where the bytes per second are used up, and answered LATER past its deadline', () => {
    const { ask, keep, answers, clock } = setUp({ bytesPerSec: 50 });
    const { epoch } = keep(2);
    ask(1, epoch, 0);
    ask(2, epoch, 0);
    expect(answers).toHaveLength(1);
    clock.advance(800);
    vi.advanceTimersByTime(5);
    expect(answers).toHaveLength(1);
    clock.advance(150);
    vi.advanceTimersByTime(5);
    expect(answers).toHaveLength(2);
    ask(3, epoch, 0);
    clock.advance(1_100);
    vi.advanceTimersByTime(5);
    expect(answers[2]).toBe('1 3 LATER');
  });

  it('of a bucket that died is dropped', () => {
    const { ask, keep, answers, block, recovery } = setUp();
    const { epoch } = keep(1);
    block(true);
    ask(1, epoch, 0, 1);
    ask(1, epoch, 0, 2);
    recovery.forgetThread(1);
    block(false);
    vi.advanceTimersByTime(5);
    expect(answers).toEqual(['2 1 RECOVERED 1:m1']);
    expect(recovery.waitingCount).toBe(0);
  });
});

describe('a recovery from the history of the cluster', () => {
  function clustered(options: Partial<RoomRecoveryOptions> = {}) {
    const history = new ModelHistory(100);
    const rig = setUp({ history, ...options });
    for (let i = 1; i <= 5; i++) history.publish(id(i), Buffer.from(`m${i}`));
    const log = rig.memory.logOf(ROOM)!;
    rig.memory.restart(log, { epoch: history.epoch, offset: 3 });
    rig.keep(2);
    const epoch = history.epoch;
    return { ...rig, history, log, epoch };
  }

  it('is joined to what this node has delivered, each message once', async () => {
    const { ask, answers, history, epoch, keep } = clustered();
    ask(1, epoch, 1);
    expect(answers).toEqual([]);
    history.compute();
    // Numbered here while the question was under way.
    history.publish(id(6), Buffer.from('m6'));
    keep(1);
    history.answer();
    await turn();
    expect(answers).toEqual(['1 1 RECOVERED 2:m2 3:m3 4:m4 5:m5 6:m6']);
  });

  it('holds nothing that this node has not delivered yet', async () => {
    const { ask, answers, history, epoch } = clustered();
    ask(1, epoch, 1);
    history.publish(id(6), Buffer.from('m6'));
    history.compute();
    history.answer();
    await turn();
    expect(answers).toEqual(['1 1 RECOVERED 2:m2 3:m3 4:m4 5:m5']);
  });

  it('asks once for a crowd with one gap', async () => {
    const { ask, answers, history, epoch } = clustered();
    for (let request = 1; request <= 50; request++) ask(request, epoch, 0);
    expect(history.waitingCount).toBe(1);
    history.compute();
    history.answer();
    await turn();
    expect(answers).toHaveLength(50);
    expect(new Set(answers.map((text) => text.replace(/^1 \d+ /, '')))).toEqual(
      new Set(['RECOVERED 1:m1 2:m2 3:m3 4:m4 5:m5']),
    );
  });

  it('asks once for a crowd with many gaps, and no more once the room is known', async () => {
    const { ask, answers, history, epoch } = clustered();
    for (let request = 1; request <= 20; request++) ask(request, epoch, request % 3);
    // The widest comes as the third question; those in front of it were narrower.
    expect(history.waitingCount).toBeLessThanOrEqual(2);
    while (history.waitingCount > 0) {
      history.compute();
      history.answer();
      await turn();
    }
    await turn();
    expect(answers).toHaveLength(20);
    expect(new Set(answers.map((text) => text.replace(/^1 \d+ /, '')))).toEqual(
      new Set(['RECOVERED 1:m1 2:m2 3:m3 4:m4 5:m5', 'RECOVERED 2:m2 3:m3 4:m4 5:m5', 'RECOVERED 3:m3 4:m4 5:m5']),
    );
    for (let offset = 0; offset <= 5; offset++) ask(21 + offset, epoch, offset);
    expect(history.waitingCount).toBe(0);
    expect(answers).toHaveLength(26);
  });

  it('keeps what was fetched for seconds only: its age is not known', async () => {
    const { ask, answers, history, epoch, clock, log } = clustered();
    ask(1, epoch, 0);
    history.compute();
    history.answer();
    await turn();
    expect([answers.length, log.count]).toEqual([1, 5]);
    clock.advance(5_001);
    ask(2, epoch, 0);
    expect(history.waitingCount).toBe(1);
    expect(log.count).toBe(2);
  });

  it('refuses at once what the history was found not to have, and serves what it has', async () => {
    const { ask, answers, epoch, history } = clustered();
    history.forget(2);
    ask(1, epoch, 0);
    history.compute();
    history.answer();
    await turn();
    ask(2, epoch, 0);
    ask(3, epoch, 1);
    expect(answers).toEqual(['1 1 REFUSED', '1 2 REFUSED', '1 3 REFUSED']);
    expect(history.waitingCount).toBe(0);
    ask(4, epoch, 2);
    history.compute();
    history.answer();
    await turn();
    expect(answers[3]).toBe('1 4 RECOVERED 3:m3 4:m4 5:m5');
  });

  it('is LATER while Redis is away, REFUSED where Redis has it no more or one answer cannot hold it', async () => {
    const { ask, answers, history, epoch } = clustered({ maxMessages: 4 });
    history.isAway = true;
    ask(1, epoch, 1);
    history.answer();
    await turn();
    history.isAway = false;
    history.lose();
    ask(2, epoch, 1);
    history.compute();
    history.answer();
    await turn();
    ask(3, epoch, 0);
    expect(answers).toEqual(['1 1 LATER', '1 2 REFUSED', '1 3 REFUSED']);
  });

  it('is not answered to the successor of a bucket that died meanwhile', async () => {
    const { ask, answers, history, epoch, recovery } = clustered();
    ask(1, epoch, 1);
    history.compute();
    recovery.forgetThread(1);
    history.answer();
    await turn();
    expect(answers).toEqual([]);
  });
});
