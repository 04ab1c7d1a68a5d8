import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { PushBytes } from '../fixtures/push-bytes.js';
import { CHANNEL_FLAG, type Channel } from './channel.js';
import type { RoomCohort, RoomShard } from './room-shard.js';
import { groupsOf } from './subscriptions.js';

const ROOM = 'live://1';
const COHORT_MEMBERS = 3;

function setUp(memberCount: number, extended = false) {
  const parts = new BucketParts(undefined, false, COHORT_MEMBERS);
  const members = Array.from({ length: memberCount }, () => parts.channel({ extended }));
  for (const { channel } of members) parts.enter(channel, ROOM);
  const shard = parts.shards.byRoom(ROOM)!;
  return { parts, members, shard };
}

function push(shard: RoomShard): void {
  const offset = shard.lastOffset + 1;
  new PushBytes(1000, `m${offset}`, 0).appendTo(shard, offset);
}

/** Flush one of the groups that wait. */
function flushOne(parts: BucketParts, index: number): void {
  const [group] = parts.published.pending.splice(index % parts.published.pending.length, 1);
  group?.flush();
  parts.spread();
}

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the cohorts of a room', () => {
  it('are one, the room itself, while its members fit', () => {
    const { members, shard } = setUp(COHORT_MEMBERS);
    expect(shard.cohortCount).toBe(1);
    for (const { channel } of members) expect(channel.cohortIn(shard)).toBe(shard);
  });

  it('fill up one after the other, and the first hole is filled first', () => {
    const { parts, members, shard } = setUp(7);
    const topics = () => members.map(({ socket }) => [...socket.topics].join());
    expect(topics()).toEqual(['pr1', 'pr1', 'pr1', 'pr1#1', 'pr1#1', 'pr1#1', 'pr1#2']);
    parts.rooms.exit(members[1]!.channel, shard);
    parts.rooms.exit(members[4]!.channel, shard);
    for (const index of [4, 1]) parts.enter(members[index]!.channel, ROOM);
    expect(topics()).toEqual(['pr1', 'pr1#1', 'pr1', 'pr1#1', 'pr1', 'pr1#1', 'pr1#2']);
    expect([shard.memberCount, shard.cohortCount]).toEqual([7, 3]);
  });

  it('are forgotten when empty, with what waited for them', () => {
    const { parts, members, shard } = setUp(7);
    push(shard);
    parts.rooms.exit(members[6]!.channel, shard);
    expect([shard.memberCount, shard.cohortCount]).toEqual([6, 2]);
    for (const { channel } of members.slice(0, 6)) parts.rooms.exit(channel, shard);
    parts.answer();
    expect([shard.memberCount, shard.cohortCount, parts.shards.count]).toEqual([0, 1, 0]);
    for (const group of parts.published.pending.splice(0)) group.flush();
    expect(parts.published.messages).toEqual([]);
  });

  it('get everything since their own last flush, each by itself', () => {
    const { parts, members, shard } = setUp(4);
    const [first, , , later] = members;
    push(shard);
    flushOne(parts, 0);
    expect([first!.socket.take(), later!.socket.take()]).toEqual([['1000 m1'], []]);
    push(shard);
    flushOne(parts, 0);
    expect([first!.socket.take(), later!.socket.take()]).toEqual([[], ['1000 m1', '1000 m2']]);
    flushOne(parts, 0);
    expect([first!.socket.take(), later!.socket.take()]).toEqual([['1000 m2'], []]);
  });

  it('tell a join, a leave and a Gap how far they themselves have come', () => {
    const { parts, members, shard } = setUp(4, true);
    const later = members[3]!.channel;
    push(shard);
    flushOne(parts, 0);
    push(shard);
    const joined = parts.channel({ extended: true });
    const offsets: number[] = [];
    parts.rooms.join(
      joined.channel,
      [ROOM],
      () => undefined,
      (results) => {
        for (const { offset } of results) offsets.push(offset);
      },
    );
    expect([joined.channel.cohortIn(shard), offsets]).toEqual([later.cohortIn(shard), [0]]);
    expect(parts.rooms.leave(members[0]!.channel, [ROOM])[0]?.offset).toBe(1);
    expect(groupsOf(later)).toEqual([later.cohortIn(shard)]);
    expect(groupsOf(later)[0]).not.toBe(shard);
  });
});

/** What a client of the extended form makes of what it reads: each offset once, in order, or a Gap that accounts for it. */
class Reader {
  nextOffset = 0;
  problem = '';

  read(texts: readonly string[]): void {
    for (const text of texts) {
      const offset = /^live:\/\/1@\d+\+(\d+) /.exec(text)?.[1];
      const gapTo = /"scope":"room".*"to":(\d+)/.exec(text)?.[1];
      if (offset !== undefined) {
        if (Number(offset) !== this.nextOffset) this.problem ||= `got ${offset} for ${this.nextOffset}`;
        this.nextOffset = Number(offset) + 1;
      } else if (gapTo !== undefined) {
        if (Number(gapTo) < this.nextOffset - 1) this.problem ||= `a Gap goes back to ${gapTo}`;
        this.nextOffset = Number(gapTo) + 1;
      }
    }
  }
}

/** Bodies `m<offset>` of plain pushes, without a hole except where the channel was slow or away. */
class PlainReader {
  lastOffset = 0;
  mayHaveHole = true;
  problem = '';

  /** What waits in its cohort is read, even what it has had in another one before it left. */
  joined(cohort: RoomCohort): void {
    this.lastOffset = Math.min(this.lastOffset, cohort.lastOffset - cohort.pendingCount);
  }

  read(texts: readonly string[]): void {
    for (const text of texts) {
      const offset = Number(/^1000 m(\d+)$/.exec(text)?.[1]);
      const isNext = this.mayHaveHole ? offset > this.lastOffset : offset === this.lastOffset + 1;
      if (!isNext) this.problem ||= `got ${text} after ${this.lastOffset}`;
      this.lastOffset = offset;
      this.mayHaveHole = false;
    }
  }
}

describe('a member of a room with cohorts', () => {
  const who = fc.nat(9);
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.constant({ act: 'push' as const, who: 0 }) },
    { weight: 6, arbitrary: fc.record({ act: fc.constant('flush' as const), who }) },
    { weight: 4, arbitrary: fc.record({ act: fc.constantFrom('join' as const, 'leave' as const), who }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('slow' as const, 'drain' as const), who }) },
  );

  it('reads each message once and in order, whoever joins, leaves or is slow between the flushes', async () => {
    let laterCohorts = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), async (steps) => {
        const { parts, shard } = setUp(4);
        const extended = Array.from({ length: 5 }, () => ({
          ...parts.channel({ extended: true }),
          reader: new Reader(),
        }));
        const plain = Array.from({ length: 5 }, () => ({ ...parts.channel(), reader: new PlainReader() }));
        const all = [...extended, ...plain];
        const join = (channel: Channel): void =>
          parts.rooms.join(
            channel,
            [ROOM],
            () => undefined,
            ([result]) => {
              for (const member of extended) {
                if (member.channel === channel) member.reader.nextOffset = (result?.offset ?? 0) + 1;
              }
            },
          );
        const readAll = (): void => {
          for (const { socket, reader } of all) reader.read(socket.take());
        };
        for (const { act, who: index } of steps) {
          const { channel, socket } = all[index]!;
          const isMember = channel.isIn(shard);
          if (act === 'push') push(shard);
          else if (act === 'flush') flushOne(parts, index);
          else if (act === 'join' && !isMember) {
            join(channel);
            const cohort = channel.cohortIn(shard);
            if (index >= 5 && cohort !== undefined) plain[index - 5]!.reader.joined(cohort);
          } else if (act === 'leave' && isMember) {
            const [left] = parts.rooms.leave(channel, [ROOM]);
            const member = extended[index];
            if (member !== undefined && !channel.has(CHANNEL_FLAG.OUT)) {
              expect(left?.offset).toBe(member.reader.nextOffset - 1);
            }
            if (index >= 5) plain[index - 5]!.reader.mayHaveHole = true;
          } else if (act === 'slow' && !channel.has(CHANNEL_FLAG.OUT)) {
            socket.bufferedBytes = 1;
            parts.subscriptions.mark(channel);
            await immediate();
          } else if (act === 'drain' && channel.has(CHANNEL_FLAG.OUT)) {
            socket.bufferedBytes = 0;
            if (index >= 5) plain[index - 5]!.reader.mayHaveHole = true;
            parts.subscriptions.drained(channel);
          }
          parts.spread();
          readAll();
          laterCohorts = Math.max(laterCohorts, shard.cohortCount - 1);
        }
        while (parts.published.pending.length > 0) flushOne(parts, 0);
        readAll();
        expect(all.map(({ reader }) => reader.problem).join('')).toBe('');
        for (const { channel, reader } of extended) {
          if (!channel.isIn(shard) || channel.has(CHANNEL_FLAG.OUT)) continue;
          expect(reader.nextOffset).toBe(shard.lastOffset + 1);
        }
      }),
    );
    expect(laterCohorts).toBeGreaterThan(1);
  });
});
