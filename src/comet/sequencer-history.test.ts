/** Rooms with history in the sequencer: places, message ids, what is kept. The others: sequencer.test.ts. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../clock/index.js';
import { HistoryRules } from '../config/index.js';
import { OUTCOME } from '../errors/index.js';
import { setIssueLimitMs } from '../id/index.js';
import { MemoryHistory } from '../store/index.js';
import { InMemoryRing, testIds } from './fixtures/in-memory-ring.js';
import {
  EPOCH_OFFSET,
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  RAW_KIND,
  SPEED_OFFSET,
} from './push-record.layout.js';
import { Sequencer } from './sequencer.js';

const THREAD = 1;
const ROOM = 'live://1';
const body = (text: string) => new TextEncoder().encode(text);
const id = (number: number) => Uint8Array.from([0, 0, 0, 0, 0, 0, 0, number]);

function setUp(placesAreGiven = false) {
  const ring = new InMemoryRing();
  const { ids, memory: idMemory } = testIds();
  const history = new MemoryHistory({
    rules: new HistoryRules(['live:100:600']),
    maxBytes: 1_000_000,
    firstEpoch: 9_000,
    clock: new ManualClock(0),
  });
  const sequencer = new Sequencer(ring.writer, ids, {
    roomCapacity: 8,
    firstEpoch: 1_000,
    maxBodyBytes: 8_192,
    history,
    placesAreGiven,
  });
  /** `offset text`, `place epoch offset` and `gap epoch offset`. */
  const seen = () =>
    ring.read(THREAD).map(({ kind, bytes }) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const offset = view.getFloat64(OFFSET_OFFSET, true);
      if (kind === RAW_KIND.ROOM_PLACE) {
        const name = view.getUint32(SPEED_OFFSET, true) === 1 ? 'gap' : 'place';
        return `${name} ${view.getFloat64(EPOCH_OFFSET, true)} ${offset}`;
      }
      const end = INNER_OFFSET + view.getInt32(INNER_OFFSET);
      return `${offset} ${Buffer.from(bytes.subarray(INNER_OFFSET + 16, end)).toString()} ${view.getBigUint64(MESSAGE_ID_OFFSET)}`;
    });
  return { ring, sequencer, history, idMemory, seen };
}

describe('a room with history, standalone', () => {
  it('keeps epoch, offset and messages while nobody is in it', () => {
    const { sequencer, history } = setUp();
    const [roomNo, epoch] = sequencer.occupy(ROOM, THREAD);
    expect(epoch).toBe(9_001);
    sequencer.pushRoom(ROOM, 1000, body('a'));
    sequencer.vacate(roomNo, THREAD);
    sequencer.pushRoom(ROOM, 1000, body('b'));
    expect(sequencer.occupy(ROOM, THREAD)).toEqual([roomNo, epoch, 2]);
    const range = history.range(ROOM, epoch, 1, { maxMessages: 10, maxBytes: 1_000 });
    expect(range.isRecoverable && range.messages.map((message) => Buffer.from(message.body).toString())).toEqual([
      'a',
      'b',
    ]);
  });

  it('keeps the id under which the members got the message', () => {
    const { sequencer, history, seen } = setUp();
    sequencer.occupy(ROOM, THREAD);
    sequencer.pushRoom(ROOM, 1000, body('a'));
    const kept = history.existing(ROOM)!.messageAt(1)!.messageId;
    expect(seen()).toEqual([`1 a ${Buffer.from(kept).readBigUInt64BE()}`]);
  });

  it('delivers a given id as it is, and its repeat not at all', () => {
    const { sequencer, seen } = setUp();
    sequencer.occupy(ROOM, THREAD);
    for (const number of [7, 7, 8, 7]) {
      expect(sequencer.pushRoom(ROOM, 1000, body('a'), id(number))).toBe(OUTCOME.OK);
    }
    expect(seen()).toEqual(['1 a 7', '2 a 8']);
  });

  it('leaves no trace of a push that the ring or the ids refuse', () => {
    const { sequencer, history, idMemory, ring } = setUp();
    sequencer.occupy(ROOM, THREAD);
    let count = 0;
    while (sequencer.pushRoom(ROOM, 1000, body('x'.repeat(2_000))) === OUTCOME.OK) count += 1;
    expect(count).toBeGreaterThan(2);
    expect(history.existing(ROOM)!.offset).toBe(count);
    for (let thread = 0; thread < 4; thread++) ring.read(thread);
    setIssueLimitMs(idMemory, 0);
    sequencer.pushRoom(ROOM, 1000, body('y'));
    sequencer.vacate(1, THREAD);
    expect(sequencer.pushRoom(ROOM, 1000, body('y'))).toBe(OUTCOME.FULL);
    expect(history.existing(ROOM)!.offset).toBe(count);
  });

  it('does not concern rooms of other types', () => {
    const { sequencer, history } = setUp();
    expect(sequencer.occupy('chat://1', THREAD).slice(1)).toEqual([1_001, 0]);
    sequencer.pushRoom('chat://1', 1000, body('a'));
    sequencer.pushRoom('chat://2', 1000, body('a'));
    expect(history.roomCount).toBe(0);
  });
});

describe('places that come with the push', () => {
  it('are followed, repeats dropped, and a hole or a new epoch told in front of the message', () => {
    const { sequencer, seen } = setUp(true);
    sequencer.placeRoom(ROOM, { epoch: 50, offset: 4 }, false);
    expect(sequencer.occupy(ROOM, THREAD).slice(1)).toEqual([50, 4]);
    for (const [epoch, offset] of [
      [50, 5],
      [50, 5],
      [50, 6],
      [50, 9],
      [51, 1],
      [51, 2],
    ] as const) {
      sequencer.pushRoom(ROOM, 1000, body(`${epoch}`), id(offset), { epoch, offset });
    }
    expect(seen()).toEqual(['5 50 5', '6 50 6', 'gap 50 8', '9 50 9', 'gap 51 0', '1 51 1', '2 51 2']);
    expect(sequencer.occupy(ROOM, 2).slice(1)).toEqual([51, 2]);
  });

  it('are kept also where nobody is in the room', () => {
    const { sequencer, history } = setUp(true);
    sequencer.pushRoom(ROOM, 1000, body('a'), id(1), { epoch: 50, offset: 7 });
    sequencer.pushRoom(ROOM, 1000, body('b'), id(2), { epoch: 50, offset: 8 });
    expect(sequencer.occupy(ROOM, THREAD).slice(1)).toEqual([50, 8]);
    expect(history.existing(ROOM)!.firstOffset).toBe(7);
  });

  it('are honoured without a history on this node, too', () => {
    const { sequencer, seen } = setUp(true);
    sequencer.occupy('chat://1', THREAD);
    sequencer.pushRoom('chat://1', 1000, body('a'), id(1), { epoch: 50, offset: 7 });
    expect(seen()).toEqual(['gap 50 6', '7 a 1']);
  });

  it('that are missing put the message outside the sequence', () => {
    const { sequencer, history, seen } = setUp(true);
    sequencer.placeRoom(ROOM, { epoch: 50, offset: 4 }, false);
    sequencer.occupy(ROOM, THREAD);
    sequencer.pushRoom(ROOM, 1000, body('a'), id(1));
    sequencer.pushRoom(ROOM, 1000, body('b'), id(2), { epoch: 50, offset: 5 });
    expect(seen()).toEqual(['0 a 1', '5 b 2']);
    expect(history.existing(ROOM)!.count).toBe(1);
  });
});

describe('a given message id', () => {
  it('stands in direct pushes and pushes to all', () => {
    const { sequencer, ring } = setUp();
    sequencer.pushDirect(new Map([[THREAD, [1]]]), 1000, body('a'), false, id(5));
    sequencer.pushAll(1 << THREAD, 0, 1000, body('a'), id(6));
    expect(ring.read(THREAD).map(({ bytes }) => bytes[MESSAGE_ID_OFFSET + 7])).toEqual([5, 6]);
  });
});
