import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InMemoryRing, testIds } from '../fixtures/in-memory-ring.js';
import { Published } from '../fixtures/published.js';
import { allocateRoomCounts, RoomCounts } from '../room-counts.js';
import { Sequencer } from '../sequencer.js';
import type { RoomInfo } from '../thread-messages.js';
import type { RoomShard } from './room-shard.js';
import { RoomShards } from './room-shards.js';

const ROOM_CAPACITY = 3;

/** The way of messages between one bucket and the sequencer: two queues, which the test empties when it likes. */
class Link {
  readonly toControl: (() => void)[] = [];
  readonly toBucket: (() => void)[] = [];
  readonly asked: string[] = [];
  /** Rooms that the sequencer has this bucket down for: number and epoch by name. */
  readonly known = new Map<string, readonly [roomNo: number, epoch: number]>();
  readonly shards: RoomShards;
  readonly counts: RoomCounts;
  readonly published = new Published();

  constructor(sequencer: Sequencer, countsMemory: SharedArrayBuffer, thread: number) {
    this.counts = new RoomCounts(countsMemory, 4);
    this.shards = new RoomShards(
      this.published.context,
      {
        requestOccupy: (request, rooms) => {
          this.asked.push(`occupy ${rooms.join(' ')}`);
          this.toControl.push(() => {
            const infos = rooms.map((room): RoomInfo => [...sequencer.occupy(room, thread)]);
            for (const [index, [roomNo, epoch]] of infos.entries()) {
              if (roomNo > 0) this.known.set(rooms[index]!, [roomNo, epoch]);
            }
            this.toBucket.push(() => this.shards.opened(request, infos));
          });
        },
        requestVacate: (roomNo) => {
          this.asked.push(`vacate ${roomNo}`);
          this.toControl.push(() => {
            sequencer.vacate(roomNo, thread);
            for (const [room, [no]] of this.known) if (no === roomNo) this.known.delete(room);
          });
        },
      },
      this.counts,
      thread,
    );
  }

  control(): void {
    this.toControl.shift()?.();
  }

  bucket(): void {
    this.toBucket.shift()?.();
  }

  settle(): void {
    while (this.toControl.length + this.toBucket.length > 0) {
      this.control();
      this.bucket();
    }
  }
}

function setUp(bucketCount = 1) {
  const sequencer = new Sequencer(new InMemoryRing().writer, testIds().ids, {
    roomCapacity: ROOM_CAPACITY,
    firstEpoch: 1_000,
    maxBodyBytes: 1_024,
  });
  const memory = allocateRoomCounts(ROOM_CAPACITY, 4);
  const links = Array.from({ length: bucketCount }, (_, index) => new Link(sequencer, memory, index + 1));
  return { sequencer, links, link: links[0]!, shards: links[0]!.shards };
}

describe('opening rooms', () => {
  it('asks the sequencer once, and is done when it has numbered them', () => {
    const { link, shards } = setUp();
    let done: readonly RoomShard[] | undefined;
    shards.open(['live://1', 'live://2'], (opened) => {
      done = opened;
      for (const shard of opened) shards.memberJoined(shard);
    });
    expect([done, link.asked]).toEqual([undefined, ['occupy live://1 live://2']]);
    link.settle();
    expect(done?.map(({ room, roomNo, epoch }) => [room, roomNo, epoch])).toEqual([
      ['live://1', 1, 1_001],
      ['live://2', 2, 1_002],
    ]);
    expect([shards.byNo(2), shards.byRoom('live://1')?.active]).toEqual([done?.[1], true]);
    // Open now: the next one costs no round trip.
    let again = false;
    shards.open(['live://1'], () => {
      again = true;
    });
    expect([again, link.asked.length]).toEqual([true, 1]);
  });

  it('that nobody joined closes them again', () => {
    const { link, shards, sequencer } = setUp();
    shards.open(['live://1'], () => {});
    link.settle();
    expect([shards.count, shards.byNo(1), sequencer.roomCount()]).toEqual([0, undefined, 0]);
    expect(link.asked).toEqual(['occupy live://1', 'vacate 1']);
  });

  it('whose `done` throws gives them back, on the long way and on the short one', () => {
    const { link, shards, sequencer } = setUp();
    const fail = () => {
      throw new Error('from done');
    };
    shards.open(['live://1'], fail);
    expect(() => link.settle()).toThrow('from done');
    link.settle();
    expect([shards.count, sequencer.roomCount()]).toEqual([0, 0]);
    shards.open(['live://1'], ([shard]) => shards.memberJoined(shard!));
    link.settle();
    expect(() => shards.open(['live://1'], fail)).toThrow('from done');
    shards.memberLeft(shards.byRoom('live://1')!);
    link.settle();
    expect([shards.count, sequencer.roomCount()]).toEqual([0, 0]);
  });

  it('tells which ones the node has no place for, and forgets those', () => {
    const { link, shards } = setUp();
    let active: boolean[] = [];
    shards.open(['a://1', 'a://2', 'a://3', 'a://4'], (opened) => {
      active = opened.map((shard) => shard.active);
      for (const shard of opened) if (shard.active) shards.memberJoined(shard);
    });
    link.settle();
    expect(active).toEqual([true, true, true, false]);
    expect([shards.count, shards.byRoom('a://4')]).toEqual([3, undefined]);
    expect(link.asked).toHaveLength(1);
  });

  it('named twice in one request opens them once', () => {
    const { link, shards } = setUp();
    shards.open(['live://1', 'live://1'], ([first, second]) => {
      expect(first).toBe(second);
      shards.memberJoined(first!);
    });
    link.settle();
    expect([shards.count, shards.byRoom('live://1')?.requestCount]).toEqual([1, 0]);
  });

  it('ignores an answer to a request that nobody made', () => {
    const { shards } = setUp();
    shards.opened(9, [[1, 2, 3]]);
    expect(shards.count).toBe(0);
  });
});

describe('a room in a bucket', () => {
  it('stays open while a request for it is under way, so its vacate cannot overtake that request', () => {
    const { link, shards, sequencer } = setUp();
    shards.open(['live://1'], ([shard]) => shards.memberJoined(shard!));
    link.settle();
    const shard = shards.byRoom('live://1')!;
    const held = shards.hold(['live://1']);
    shards.memberLeft(shard);
    expect([shard.active, sequencer.roomNo('live://1'), link.asked.length]).toEqual([true, 1, 1]);
    shards.activate(held, [[1, 1_001, 0]]);
    shards.settle(held);
    link.settle();
    expect([shards.count, sequencer.roomCount()]).toEqual([0, 0]);
  });

  it('that closed and is asked for again is a new one, with a topic, number and epoch of its own', () => {
    const { link, shards } = setUp();
    const seen: RoomShard[] = [];
    for (let i = 0; i < 2; i++) {
      shards.open(['live://1'], ([shard]) => seen.push(shard!));
      link.settle();
    }
    const [old, fresh] = seen as [RoomShard, RoomShard];
    expect(fresh.topicPlain).not.toBe(old.topicPlain);
    expect(fresh.epoch).toBe(old.epoch + 1);
  });

  it('shows its members to the whole node as soon as they come and go', () => {
    const { links, sequencer } = setUp(2);
    for (const link of links) {
      link.shards.open(['live://1'], ([shard]) => {
        link.shards.memberJoined(shard!);
        link.shards.memberJoined(shard!);
      });
      link.settle();
    }
    const [first, second] = links.map((link) => link.shards) as [RoomShards, RoomShards];
    expect(first.onlineCount(first.byRoom('live://1')!)).toBe(4);
    second.memberLeft(second.byRoom('live://1')!);
    expect(first.onlineCount(first.byRoom('live://1')!)).toBe(3);
    second.memberLeft(second.byRoom('live://1')!);
    links[1]?.settle();
    expect([first.onlineCount(first.byRoom('live://1')!), sequencer.roomNo('live://1')]).toEqual([2, 1]);
    const [pending] = second.hold(['live://2']);
    expect(second.onlineCount(pending!)).toBe(0);
  });
});

// The sequencer must know of every bucket with members from before the first joins until after the last has left:
// otherwise it would number messages that never reach them, or give the room's number to another room.
it('never has members that the sequencer does not know of, however requests and answers interleave', () => {
  const step = fc.record({
    act: fc.constantFrom('open', 'open', 'leave', 'control', 'control', 'bucket', 'bucket'),
    bucket: fc.nat(1),
    rooms: fc.uniqueArray(fc.constantFrom('a://1', 'a://2', 'a://3', 'a://4'), { minLength: 1, maxLength: 3 }),
    joins: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const { sequencer, links } = setUp(2);
      const members: RoomShard[][] = [[], []];
      const check = () => {
        for (const [index, link] of links.entries()) {
          for (const shard of new Set(members[index])) {
            expect(shard.active).toBe(true);
            expect(link.shards.byNo(shard.roomNo)).toBe(shard);
            expect(link.known.get(shard.room)).toEqual([shard.roomNo, shard.epoch]);
            expect(shard.memberCount).toBe(members[index]?.filter((member) => member === shard).length);
          }
        }
      };
      for (const { act, bucket, rooms, joins } of steps) {
        const link = links[bucket]!;
        const own = members[bucket]!;
        if (act === 'control') link.control();
        else if (act === 'bucket') link.bucket();
        else if (act === 'leave') {
          const shard = own.pop();
          if (shard !== undefined) link.shards.memberLeft(shard);
        } else {
          link.shards.open(rooms, (shards) => {
            if (!joins) return;
            for (const shard of shards) {
              if (!shard.active) continue;
              link.shards.memberJoined(shard);
              own.push(shard);
            }
          });
        }
        check();
      }
      for (const [index, link] of links.entries()) {
        link.settle();
        for (const shard of members[index]!.splice(0)) link.shards.memberLeft(shard);
        link.settle();
        expect(link.shards.count).toBe(0);
      }
      expect(sequencer.roomCount()).toBe(0);
      for (let roomNo = 1; roomNo <= ROOM_CAPACITY; roomNo++) expect(links[0]?.counts.total(roomNo)).toBe(0);
    }),
    { numRuns: 100 },
  );
});
