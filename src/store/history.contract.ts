/**
 * The contract of `RoomHistory`: one suite, run on every adapter.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { HistoryRange, RoomHistory } from '../push/index.js';

export interface HistorySubject {
  readonly history: RoomHistory;
  /** Let so much time pass for the kept messages. */
  readonly pass: (ms: number) => Promise<void>;
  /** Lose everything that is known of the room. */
  readonly lose: (room: string) => Promise<void>;
}

/** `short` keeps 5 messages, `brief` keeps 100 of them for 1 s, `wide` 100 for an hour. */
export const CONTRACT_RULES = ['short:5:3600', 'brief:100:1', 'wide:100:3600'];
const ALL = { maxMessages: 1000, maxBytes: 1_000_000 };
const utf8 = new TextEncoder();

export function idOf(number: number): Uint8Array {
  const id = new Uint8Array(8);
  new DataView(id.buffer).setBigUint64(0, BigInt(number));
  return id;
}

export function textsOf(range: HistoryRange): string[] | 'unrecoverable' {
  if (!range.isRecoverable) return 'unrecoverable';
  return range.messages.map(({ offset, body }) => `${offset} ${Buffer.from(body).toString()}`);
}

export function roomHistoryContract(name: string, create: () => Promise<HistorySubject>): void {
  describe(`${name} keeps the history contract`, () => {
    let subject: HistorySubject;
    let history: RoomHistory;
    let serial = 0;
    beforeAll(async () => {
      subject = await create();
      history = subject.history;
    });
    const roomOf = (type: string) => `${type}://${++serial}`;
    const append = (room: string, number: number, text = `m${number}`) =>
      history.append(room, 1000 + number, utf8.encode(text), idOf(number));

    it('knows the rooms with history by their type', () => {
      expect(['short://1', 'wide://x', 'other://1', 'short', '://'].map((room) => history.hasHistory(room))).toEqual([
        true,
        true,
        false,
        false,
        false,
      ]);
    });

    it('numbers a room from 1 in one epoch, and gives back what it was given', async () => {
      const room = roomOf('wide');
      const start = await history.position(room);
      expect(start).toEqual({ epoch: expect.any(Number), offset: 0 });
      expect(start.epoch).toBeGreaterThan(0);
      for (let number = 1; number <= 3; number++) {
        expect(await append(room, number)).toEqual({ epoch: start.epoch, offset: number });
      }
      expect(await history.position(room)).toEqual({ epoch: start.epoch, offset: 3 });
      const range = await history.range(room, start.epoch, 2, ALL);
      expect(range).toMatchObject({ isRecoverable: true, place: { epoch: start.epoch, offset: 3 } });
      expect(textsOf(range)).toEqual(['2 m2', '3 m3']);
      if (range.isRecoverable) {
        expect(range.messages.map(({ op }) => op)).toEqual([1002, 1003]);
        expect(Buffer.from(range.messages[0]!.messageId).equals(idOf(2))).toBe(true);
      }
    });

    it('keeps rooms apart, binary bodies and negative operations whole', async () => {
      const [a, b] = [roomOf('wide'), roomOf('wide')];
      const body = Uint8Array.from({ length: 300 }, (_, index) => index & 255);
      const place = await history.append(a, -7, body, idOf(0));
      await append(b, 1);
      const range = await history.range(a, place.epoch, 1, ALL);
      expect(range.isRecoverable && range.messages.length).toBe(1);
      if (range.isRecoverable) {
        expect(range.messages[0]!.op).toBe(-7);
        expect(Buffer.compare(range.messages[0]!.body, body)).toBe(0);
      }
    });

    it('has nothing newer than its newest, and refuses what it has not reached', async () => {
      const room = roomOf('wide');
      const { epoch } = await append(room, 1);
      expect(textsOf(await history.range(room, epoch, 2, ALL))).toEqual([]);
      expect(await history.range(room, epoch, 3, ALL)).toEqual({
        isRecoverable: false,
        place: { epoch, offset: 1 },
        firstOffset: 1,
      });
    });

    it('refuses another epoch and says which it is', async () => {
      const room = roomOf('wide');
      const { epoch } = await append(room, 1);
      expect(await history.range(room, epoch + 1, 1, ALL)).toEqual({
        isRecoverable: false,
        place: { epoch, offset: 1 },
        firstOffset: 1,
      });
    });

    it('keeps as many as the rule says and refuses a range that begins before', async () => {
      const room = roomOf('short');
      const { epoch } = await history.position(room);
      for (let number = 1; number <= 9; number++) await append(room, number);
      expect(await history.range(room, epoch, 4, ALL)).toEqual({
        isRecoverable: false,
        place: { epoch, offset: 9 },
        firstOffset: 5,
      });
      expect(textsOf(await history.range(room, epoch, 5, ALL))).toEqual(['5 m5', '6 m6', '7 m7', '8 m8', '9 m9']);
    });

    it('stops at the limits, and gives one message whatever its size', async () => {
      const room = roomOf('wide');
      const { epoch } = await history.position(room);
      for (let number = 1; number <= 40; number++) await append(room, number, 'x'.repeat(100));
      const countOf = async (maxMessages: number, maxBytes: number) => {
        const range = await history.range(room, epoch, 3, { maxMessages, maxBytes });
        return range.isRecoverable ? range.messages.length : -1;
      };
      expect(await countOf(20, 1_000_000)).toBe(20);
      expect(await countOf(1000, 350)).toBe(3);
      expect(await countOf(1000, 1)).toBe(1);
      expect(await countOf(1000, 1_000_000)).toBe(38);
    });

    it('answers a repeat of one of the last messages with the place it has', async () => {
      const room = roomOf('wide');
      for (let number = 1; number <= 30; number++) await append(room, number);
      const { epoch } = await history.position(room);
      expect(await append(room, 30)).toEqual({ epoch, offset: 30 });
      expect(await append(room, 5)).toEqual({ epoch, offset: 5 });
      expect(await append(room, 31)).toEqual({ epoch, offset: 31 });
      expect(textsOf(await history.range(room, epoch, 29, ALL))).toEqual(['29 m29', '30 m30', '31 m31']);
    });

    it('forgets what is too old, also where nothing was appended since, and goes on with its numbers', async () => {
      const room = roomOf('brief');
      const { epoch } = await history.position(room);
      for (let number = 1; number <= 40; number++) await append(room, number);
      await subject.pass(1_200);
      expect(await history.range(room, epoch, 40, ALL)).toMatchObject({ isRecoverable: false, firstOffset: 41 });
      expect(textsOf(await history.range(room, epoch, 41, ALL))).toEqual([]);
      expect(await append(room, 41)).toEqual({ epoch, offset: 41 });
      expect(textsOf(await history.range(room, epoch, 41, ALL))).toEqual(['41 m41']);
      expect(await history.range(room, epoch, 40, ALL)).toMatchObject({ isRecoverable: false, firstOffset: 41 });
    });

    it('begins a new life with another epoch where the record was lost', async () => {
      const room = roomOf('wide');
      const { epoch } = await append(room, 1);
      await append(room, 2);
      await subject.lose(room);
      const fresh = await append(room, 3);
      expect(fresh.offset).toBe(1);
      expect(fresh.epoch).toBeGreaterThan(epoch);
      expect(textsOf(await history.range(room, fresh.epoch, 1, ALL))).toEqual(['1 m3']);
      expect(await history.range(room, epoch, 1, ALL)).toMatchObject({ isRecoverable: false, place: fresh });
    });

    it('ends a life once, whoever asks for it', async () => {
      const room = roomOf('wide');
      const { epoch } = await append(room, 1);
      const renewed = await history.renew(room, epoch);
      expect(renewed.offset).toBe(0);
      expect(renewed.epoch).toBeGreaterThan(epoch);
      expect(await history.renew(room, epoch)).toEqual(renewed);
      expect(await append(room, 1)).toEqual({ epoch: renewed.epoch, offset: 1 });
    });

    it('agrees with a naive model over random appends, repeats and ranges', async () => {
      const step = fc.oneof(
        fc.record({ kind: fc.constant('append' as const), number: fc.integer({ min: 1, max: 12 }) }),
        fc.record({ kind: fc.constant('range' as const), from: fc.integer({ min: 1, max: 14 }) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const room = roomOf('short');
          const { epoch } = await history.position(room);
          const model: number[] = [];
          for (const one of steps) {
            if (one.kind === 'append') {
              // A repeat of something that is kept: ids of what is not kept any more may be forgotten or not.
              const known = model.lastIndexOf(one.number);
              if (known >= 0 && known < model.length - 5) continue;
              if (known < 0) model.push(one.number);
              const offset = known < 0 ? model.length : known + 1;
              expect(await append(room, one.number)).toEqual({ epoch, offset });
            } else {
              const firstOffset = Math.max(1, model.length - 4);
              const isKept = one.from >= firstOffset && one.from <= model.length + 1;
              expect(textsOf(await history.range(room, epoch, one.from, ALL))).toEqual(
                isKept
                  ? model.slice(one.from - 1).map((number, index) => `${one.from + index} m${number}`)
                  : 'unrecoverable',
              );
            }
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}
