import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { setIssueLimitMs } from '../id/index.js';
import { InMemoryRing, type ReadRecord, testIds } from './fixtures/in-memory-ring.js';
import {
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  OUTER_OFFSET,
  RAW_KIND,
  SPEED_OFFSET,
  SUBJECT_OFFSET,
  targetsOffset,
} from './push-record.layout.js';
import { Sequencer } from './sequencer.js';

const FIRST_EPOCH = 1_000;
const MAX_BODY_BYTES = 4_096;

function setUp(roomCapacity = 8) {
  const ring = new InMemoryRing();
  const { ids, memory } = testIds();
  const sequencer = new Sequencer(ring.writer, ids, {
    roomCapacity,
    firstEpoch: FIRST_EPOCH,
    maxBodyBytes: MAX_BODY_BYTES,
  });
  return { ring, sequencer, idMemory: memory };
}

const body = (text: string) => new TextEncoder().encode(text);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A record's numbers and wire bytes. */
function parse({ kind, bytes }: ReadRecord) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packetBytes = view.getInt32(INNER_OFFSET);
  return {
    kind,
    subject: view.getUint32(SUBJECT_OFFSET, true),
    speed: view.getUint32(SPEED_OFFSET, true),
    id: view.getBigUint64(MESSAGE_ID_OFFSET),
    offset: view.getFloat64(OFFSET_OFFSET, true),
    wire: hex(bytes.subarray(OUTER_OFFSET, INNER_OFFSET + packetBytes)),
    text: new TextDecoder().decode(bytes.subarray(INNER_OFFSET + 16, INNER_OFFSET + packetBytes)),
    packetBytes,
    view,
  };
}

function targetsOf({ bytes }: ReadRecord): [thread: number, connIds: number[]][] {
  const { view, packetBytes } = parse({ kind: 0, bytes });
  const groups: [number, number[]][] = [];
  for (let position = targetsOffset(packetBytes); position < bytes.length; ) {
    const thread = view.getUint32(position, true);
    const count = view.getUint32(position + 4, true);
    const connIds = Array.from({ length: count }, (_, i) => view.getFloat64(position + 8 + i * 8, true));
    groups.push([thread, connIds]);
    position += 8 + count * 8;
  }
  return groups;
}

describe('rooms of the sequencer', () => {
  it('get a number, an epoch and offset 0, and keep them for every thread that occupies them', () => {
    const { sequencer } = setUp();
    expect(sequencer.occupy('live://1', 1)).toEqual([1, FIRST_EPOCH + 1, 0]);
    expect(sequencer.occupy('live://1', 1)).toEqual([1, FIRST_EPOCH + 1, 0]);
    sequencer.pushRoom('live://1', 1000, body('a'));
    expect(sequencer.occupy('live://1', 2)).toEqual([1, FIRST_EPOCH + 1, 1]);
    expect(sequencer.occupy('live://2', 2)).toEqual([2, FIRST_EPOCH + 2, 0]);
    expect([sequencer.roomNo('live://1'), sequencer.roomNo('live://9'), sequencer.roomCount()]).toEqual([1, 0, 2]);
    expect([...sequencer.rooms()].map(({ room }) => room)).toEqual(['live://1', 'live://2']);
  });

  it('reuse the number of a room that emptied, and never its epoch', () => {
    const { sequencer } = setUp();
    const [roomNo, epoch] = sequencer.occupy('live://1', 1);
    sequencer.pushRoom('live://1', 1000, body('a'));
    sequencer.vacate(roomNo, 1);
    expect([sequencer.roomCount(), sequencer.roomNo('live://1')]).toEqual([0, 0]);
    expect(sequencer.occupy('live://1', 1)).toEqual([roomNo, epoch + 1, 0]);
    sequencer.vacate(roomNo, 1);
    expect(sequencer.occupy('live://2', 1)).toEqual([roomNo, epoch + 2, 0]);
  });

  it('stay as long as one thread is left, and outlive a vacate of somebody who was not in', () => {
    const { sequencer } = setUp();
    const [roomNo] = sequencer.occupy('live://1', 1);
    sequencer.occupy('live://1', 31);
    sequencer.vacate(roomNo, 2);
    sequencer.vacate(roomNo, 1);
    sequencer.vacate(77, 31);
    expect(sequencer.roomNo('live://1')).toBe(roomNo);
    sequencer.vacate(roomNo, 31);
    expect(sequencer.roomNo('live://1')).toBe(0);
  });

  it('are refused with number 0 above the capacity, until one empties', () => {
    const { sequencer } = setUp(2);
    const [roomNo] = sequencer.occupy('live://1', 1);
    sequencer.occupy('live://2', 1);
    expect(sequencer.occupy('live://3', 1)).toEqual([0, 0, 0]);
    expect(sequencer.roomNo('live://3')).toBe(0);
    expect(sequencer.occupy('live://2', 2)[0]).toBe(2);
    sequencer.vacate(roomNo, 1);
    expect(sequencer.occupy('live://3', 1)[0]).toBe(roomNo);
  });

  it('of a dead thread are vacated at once, and no others', () => {
    const { sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    sequencer.occupy('live://2', 1);
    sequencer.occupy('live://2', 2);
    sequencer.occupy('live://3', 2);
    expect(sequencer.vacateAll(1)).toEqual([1, 2]);
    expect([...sequencer.rooms()].map(({ room }) => room)).toEqual(['live://2', 'live://3']);
    expect(sequencer.vacateAll(1)).toEqual([]);
  });
});

describe('a push to a room', () => {
  it('is written as goim puts it on the wire, with the next offset of the room and an id of its own', () => {
    const { ring, sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    expect(sequencer.pushRoom('live://1', 1000, body('{"test":1}'))).toBe(OUTCOME.OK);
    expect(sequencer.pushRoom('live://1', 1001, body(''))).toBe(OUTCOME.OK);
    const [first, second] = ring.read(1).map(parse);
    // The packet is a golden one of goim's own server; the outer header counts 16 bytes more and has op 9.
    expect(first?.wire).toBe(
      '0000002a001000010000000900000000' + '0000001a00100001000003e8000000007b2274657374223a317d',
    );
    expect(second?.wire).toBe('00000020001000010000000900000000' + '0000001000100001000003e900000000');
    expect([first?.kind, first?.subject, first?.speed, first?.offset]).toEqual([RAW_KIND.ROOM_PUSH, 1, 0, 1]);
    expect(second?.offset).toBe(2);
    expect(second?.id).toBeGreaterThan(first?.id as bigint);
  });

  it('reaches the threads with members only, in one order', () => {
    const { ring, sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    sequencer.occupy('live://1', 2);
    sequencer.occupy('live://2', 2);
    for (const [room, text] of [
      ['live://1', 'a'],
      ['live://2', 'b'],
      ['live://1', 'c'],
    ] as const) {
      sequencer.pushRoom(room, 1000, body(text));
    }
    const seen = (thread: number) =>
      ring
        .read(thread)
        .map(parse)
        .map(({ subject, offset, text }) => `${subject}+${offset} ${text}`);
    expect(seen(1)).toEqual(['1+1 a', '1+2 c']);
    expect(seen(2)).toEqual(['1+1 a', '2+1 b', '1+2 c']);
    expect(seen(3)).toEqual([]);
  });

  it('to a room without members is OK and nothing is written', () => {
    const { ring, sequencer } = setUp();
    const freeBytes = ring.writer.freeBytes();
    expect(sequencer.pushRoom('live://1', 1000, body('a'))).toBe(OUTCOME.OK);
    expect(ring.writer.freeBytes()).toBe(freeBytes);
  });

  it('that finds the ring FULL leaves no trace: the next one that is taken has the next offset', () => {
    const { ring, sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    const large = new Uint8Array(4_000);
    let taken = 0;
    while (sequencer.pushRoom('live://1', 1000, large) === OUTCOME.OK) taken++;
    expect(taken).toBeGreaterThan(10);
    for (let i = 0; i < 3; i++) expect(sequencer.pushRoom('live://1', 1000, large)).toBe(OUTCOME.FULL);
    expect(sequencer.pushDirect(new Map([[1, [1]]]), 1000, large)).toBe(OUTCOME.FULL);
    expect(sequencer.pushAll(0b10, 0, 1000, large)).toBe(OUTCOME.FULL);
    expect(sequencer.occupy('live://1', 1)[2]).toBe(taken);
    expect(ring.read(1)).toHaveLength(taken);
    ring.skipAllBut(1);
    expect(sequencer.pushRoom('live://1', 1000, body('next'))).toBe(OUTCOME.OK);
    expect(sequencer.pushAll(0b10, 0, 1000, body('all'))).toBe(OUTCOME.OK);
    const [next, all] = ring.read(1).map(parse);
    expect([next?.offset, next?.text, all?.offset, all?.text]).toEqual([taken + 1, 'next', 1, 'all']);
  });

  it('is FULL while the node may issue no ids, and takes no offset and no room in the ring', () => {
    const { ring, sequencer, idMemory } = setUp();
    sequencer.occupy('live://1', 1);
    setIssueLimitMs(idMemory, 0);
    const freeBytes = ring.writer.freeBytes();
    expect(sequencer.pushRoom('live://1', 1000, body('a'))).toBe(OUTCOME.FULL);
    expect(sequencer.pushDirect(new Map([[1, [1]]]), 1000, body('a'))).toBe(OUTCOME.FULL);
    expect(sequencer.pushAll(0b10, 0, 1000, body('a'))).toBe(OUTCOME.FULL);
    expect(ring.writer.freeBytes()).toBe(freeBytes);
    setIssueLimitMs(idMemory, Number.POSITIVE_INFINITY);
    expect(sequencer.pushRoom('live://1', 1000, body('b'))).toBe(OUTCOME.OK);
    expect(ring.read(1).map((record) => [parse(record).offset, parse(record).text])).toEqual([[1, 'b']]);
  });

  it('is TOO_LARGE one byte above the body limit, whatever the target', () => {
    const { ring, sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    const tooLarge = new Uint8Array(MAX_BODY_BYTES + 1);
    expect(sequencer.pushRoom('live://1', 1000, tooLarge)).toBe(OUTCOME.TOO_LARGE);
    expect(sequencer.pushDirect(new Map([[1, [1]]]), 1000, tooLarge)).toBe(OUTCOME.TOO_LARGE);
    expect(sequencer.pushAll(0b10, 0, 1000, tooLarge)).toBe(OUTCOME.TOO_LARGE);
    expect(sequencer.pushRoom('live://1', 1000, tooLarge.subarray(1))).toBe(OUTCOME.OK);
    expect(ring.read(1).map((record) => parse(record).offset)).toEqual([1]);
  });
});

describe('a push to single channels', () => {
  it('names the connections of each thread behind the packet, for bodies of every length modulo 8', () => {
    const { ring, sequencer } = setUp();
    const targets = new Map([
      [1, [2 ** 20, 2 ** 52 + 1]],
      [3, [7]],
    ]);
    for (let length = 0; length < 9; length++) {
      expect(sequencer.pushDirect(targets, 1000, body('x'.repeat(length)))).toBe(OUTCOME.OK);
    }
    const records = ring.read(1);
    expect(records).toHaveLength(9);
    for (const [length, record] of records.entries()) {
      expect(parse(record)).toMatchObject({ kind: RAW_KIND.DIRECT_PUSH, subject: 2, text: 'x'.repeat(length) });
      expect(targetsOf(record)).toEqual([...targets]);
    }
    expect(ring.read(3)).toHaveLength(9);
    expect(ring.read(2)).toEqual([]);
  });

  it('is OK without targets, and TOO_LARGE with more than fit a record', () => {
    const { ring, sequencer } = setUp();
    expect(sequencer.pushDirect(new Map(), 1000, body('a'))).toBe(OUTCOME.OK);
    const connIds = Array.from({ length: 4_000 }, (_, i) => i);
    expect(sequencer.pushDirect(new Map([[1, connIds]]), 1000, body('a'))).toBe(OUTCOME.TOO_LARGE);
    expect(ring.read(1)).toEqual([]);
  });
});

describe('a push to all', () => {
  it('counts on its own, carries its speed, and goes to the threads of the mask', () => {
    const { ring, sequencer } = setUp();
    expect(sequencer.allEpoch).toBe(FIRST_EPOCH);
    sequencer.pushAll(0b0110, 0, 1000, body('a'));
    sequencer.pushAll(0b0010, 250, 1001, body('b'));
    expect(ring.read(1).map(parse)).toMatchObject([
      { kind: RAW_KIND.ALL_PUSH, subject: 0, speed: 0, offset: 1, text: 'a' },
      { kind: RAW_KIND.ALL_PUSH, subject: 0, speed: 250, offset: 0, text: 'b' },
    ]);
    expect(ring.read(2)).toHaveLength(1);
  });
});

describe('the sequencer against a naive model', () => {
  it('gives every thread with members each message once, offsets rise by one within an epoch, epochs never repeat', () => {
    const step = fc.record({
      act: fc.constantFrom('occupy', 'vacate', 'push', 'push', 'die'),
      room: fc.constantFrom('live://1', 'live://2', 'live://3'),
      thread: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const { ring, sequencer } = setUp(2);
        const members = new Map<string, { roomNo: number; offset: number; threads: Set<number> }>();
        const expected: string[][] = [[], [], [], []];
        const epochs = new Set<number>();
        for (const { act, room, thread } of steps) {
          const known = members.get(room);
          if (act === 'occupy') {
            const [roomNo, epoch, offset] = sequencer.occupy(room, thread);
            if (known !== undefined) {
              expect([roomNo, offset]).toEqual([known.roomNo, known.offset]);
              known.threads.add(thread);
            } else if (members.size >= 2) {
              expect(roomNo).toBe(0);
            } else {
              expect([...members.values()].map((other) => other.roomNo)).not.toContain(roomNo);
              expect(epochs).not.toContain(epoch);
              expect([roomNo > 0, offset]).toEqual([true, 0]);
              epochs.add(epoch);
              members.set(room, { roomNo, offset: 0, threads: new Set([thread]) });
            }
          } else if (act === 'vacate' && known !== undefined) {
            sequencer.vacate(known.roomNo, thread);
            known.threads.delete(thread);
            if (known.threads.size === 0) members.delete(room);
          } else if (act === 'die') {
            sequencer.vacateAll(thread);
            for (const [name, entry] of members) {
              entry.threads.delete(thread);
              if (entry.threads.size === 0) members.delete(name);
            }
          } else if (act === 'push') {
            expect(sequencer.pushRoom(room, 1000, body(room))).toBe(OUTCOME.OK);
            if (known === undefined) continue;
            known.offset += 1;
            for (const member of known.threads) expected[member]?.push(`${known.roomNo}+${known.offset} ${room}`);
          }
          expect(sequencer.roomCount()).toBe(members.size);
        }
        for (const thread of [1, 2, 3]) {
          const seen = ring.read(thread).map(parse);
          expect(seen.map(({ subject, offset, text }) => `${subject}+${offset} ${text}`)).toEqual(expected[thread]);
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe('gaps of the sequencer', () => {
  it('spend one offset of a room or of all, and go to the threads with members', () => {
    const { ring, sequencer } = setUp();
    sequencer.occupy('live://1', 1);
    sequencer.pushRoom('live://1', 1000, body('a'));
    expect(sequencer.gapRoom('live://1')).toBe(OUTCOME.OK);
    sequencer.pushRoom('live://1', 1000, body('b'));
    sequencer.gapAll(2);
    sequencer.gapDirect(2);
    sequencer.pushAll(2, 0, 1000, body('c'));
    const rows = ring.read(1).map(({ kind, bytes }) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const scope = kind === RAW_KIND.GAP ? view.getUint32(SPEED_OFFSET, true) : 0;
      return [kind, scope, view.getUint32(SUBJECT_OFFSET, true), view.getFloat64(OFFSET_OFFSET, true)];
    });
    expect(rows).toEqual([
      [RAW_KIND.ROOM_PUSH, 0, 1, 1],
      [RAW_KIND.GAP, 1, 1, 2],
      [RAW_KIND.ROOM_PUSH, 0, 1, 3],
      [RAW_KIND.GAP, 3, 0, 1],
      [RAW_KIND.GAP, 2, 0, 0],
      [RAW_KIND.ALL_PUSH, 0, 0, 2],
    ]);
    expect(ring.read(2).filter(({ kind }) => kind === RAW_KIND.GAP)).toHaveLength(0);
  });

  it('of a room without members write nothing, and in a full ring leave no trace', () => {
    const { ring, sequencer } = setUp();
    expect(sequencer.gapRoom('live://nobody')).toBe(OUTCOME.OK);
    expect(ring.read(1)).toEqual([]);
    const [, , before] = sequencer.occupy('live://1', 1);
    while (ring.writer.claim(8) === OUTCOME.OK) ring.writer.commit(99, 0, 8);
    expect(sequencer.gapRoom('live://1')).toBe(OUTCOME.FULL);
    expect(sequencer.occupy('live://1', 1)[2]).toBe(before);
  });
});
