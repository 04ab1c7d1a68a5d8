/** The rooms of a client against a model of a node: joins, leaves, losses and recoveries in any order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import { decodeUtf8, OP } from '../protocol/index.js';
import { jsonCodec, MessageBody } from './body-codec.js';
import type { ClientEvents } from './client-events.js';
import { readDownstream } from './downstream.js';
import { FakeTimers } from './fixtures/fake-timers.js';
import { batchOf } from './fixtures/fake-transport.js';
import type { Reply } from './requests.js';
import { Rooms } from './rooms.js';

const NAMES = ['live://a', 'live://b', 'live://c'] as const;
const EPOCH = 7;

interface Question {
  readonly op: number;
  readonly body: unknown;
  readonly onReply: (reply: Reply) => void;
  readonly onFailed: (error: HalleyError) => void;
}

/** One node with one client. Answers go out when the test says so, in the order of the questions, and pushes in between. */
class Model {
  readonly timers = new FakeTimers();
  readonly rooms: Rooms;
  readonly offsets = new Map<string, number>(NAMES.map((name) => [name, 0]));
  readonly members = new Set<string>();
  /** By room: places accounted for since the room was joined, one entry each. */
  readonly accounted = new Map<string, number[]>();
  readonly problems: string[] = [];
  maxUnderWayCount = 0;
  isOpen = false;
  #questions: Question[] = [];
  /** The node keeps so many messages of a room. */
  readonly #keptCount: number;

  constructor(keptCount: number) {
    this.#keptCount = keptCount;
    this.rooms = new Rooms(
      {
        timers: this.timers,
        codec: jsonCodec,
        random: () => 0.5,
        isOpen: () => this.isOpen,
        ask: (op, body, onReply, onFailed) => {
          const text = decodeUtf8(body) ?? '';
          const question = { op, body: op === OP.CHANGE_ROOM ? text : JSON.parse(text), onReply, onFailed };
          this.#questions.push(question);
          this.maxUnderWayCount = Math.max(this.maxUnderWayCount, this.#questions.length);
          return () => {
            this.#questions = this.#questions.map((one) => (one === question ? { ...one, onReply: () => {} } : one));
          };
        },
        emit: (name, event) => this.#told(name, event),
        unreadable: (problem) => void this.problems.push(problem),
      },
      50,
      [],
      '',
    );
  }

  get questionCount(): number {
    return this.#questions.length;
  }

  connect(): void {
    if (this.isOpen) return;
    const { primary, rooms } = this.rooms.forAuth((names) => names);
    this.isOpen = true;
    this.members.clear();
    for (const name of primary === '' ? rooms : [primary, ...rooms]) this.members.add(name);
    const places = [...this.members].map((room) => this.#place(room));
    this.rooms.welcomed({ key: 'k', reconnectWindowMs: 0, rooms: places });
  }

  cut(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.members.clear();
    const questions = this.#questions;
    this.#questions = [];
    for (const { onFailed } of questions) onFailed(new HalleyError('DISCONNECTED', 'cut'));
    this.rooms.disconnected();
  }

  push(name: string, count: number): void {
    const first = this.offsets.get(name)! + 1;
    this.offsets.set(name, first + count - 1);
    if (this.isOpen && this.members.has(name)) this.#deliver(batchOf(name, EPOCH, first, first + count - 1));
  }

  /** Messages are dropped as for a slow channel, which is told so. */
  drop(name: string, count: number): void {
    this.offsets.set(name, this.offsets.get(name)! + count);
    if (!this.isOpen || !this.members.has(name)) return;
    this.rooms.gapTold({ scope: 'room', ...this.#place(name), isUnplaced: false });
  }

  /** Answer the oldest question. */
  answer(isTemporarilyRefused = false): void {
    const question = this.#questions.shift();
    if (question === undefined) return;
    const { op, body } = question;
    const reply = (value: unknown) =>
      question.onReply({
        op: op + 1,
        body: MessageBody.view(
          value instanceof Uint8Array
            ? (value as Uint8Array<ArrayBuffer>)
            : (jsonCodec.encode(value) as Uint8Array<ArrayBuffer>),
        ),
      });
    if (op === OP.JOIN_ROOMS) {
      for (const name of body as string[]) this.members.add(name);
      reply((body as string[]).map((room) => this.#place(room)));
    } else if (op === OP.LEAVE_ROOMS) {
      for (const name of body as string[]) this.members.delete(name);
      reply((body as string[]).map((room) => this.#place(room)));
    } else if (op === OP.RECOVER) {
      const { room, offset } = body as { room: string; offset: number };
      const newest = this.offsets.get(room)!;
      if (isTemporarilyRefused) reply({ recovered: false, error: { code: 106, message: 'later', temporary: true } });
      else if (!this.members.has(room) || offset < newest - this.#keptCount) reply({ recovered: false });
      else reply(offset === newest ? new Uint8Array(0) : batchOf(room, EPOCH, offset + 1, newest));
    }
  }

  settle(): void {
    this.connect();
    for (let step = 0; step < 300 && (this.questionCount > 0 || this.timers.pendingCount > 0); step++) {
      this.answer();
      if (this.questionCount === 0) this.timers.advance(60_000);
    }
  }

  #place(room: string) {
    return { room, epoch: EPOCH, offset: this.offsets.get(room)! };
  }

  #deliver(bytes: Uint8Array<ArrayBuffer>): void {
    readDownstream(bytes, {
      control: () => void this.problems.push('a control packet'),
      pushed: () => void this.problems.push('a push without a room'),
      roomPushed: (room, epoch, messages) => this.rooms.arrived(room, epoch, messages),
    });
  }

  #told<Name extends 'message' | 'gap' | 'recovered' | 'error'>(name: Name, event: ClientEvents[Name]): void {
    if (name === 'error') this.problems.push(String(event));
    if (name !== 'message' && name !== 'gap') return;
    const { room = '', offset, from, to } = event as { room?: string; offset?: number; from?: number; to?: number };
    if (!this.rooms.names().includes(room)) this.problems.push(`${name} of ${room}, which was left`);
    const seen = this.accounted.get(room) ?? [];
    for (let place = from ?? offset ?? 0; place <= (to ?? offset ?? 0); place++) {
      const newest = seen.at(-1);
      if (newest !== undefined && place !== newest + 1) this.problems.push(`${room}: ${place} behind ${newest}`);
      seen.push(place);
    }
    this.accounted.set(room, seen);
  }
}

const step = fc.record({
  kind: fc.constantFrom('push', 'push', 'drop', 'cut', 'connect', 'answer', 'answer', 'later', 'time', 'join', 'leave'),
  room: fc.constantFrom(...NAMES),
  count: fc.integer({ min: 1, max: 6 }),
});

describe('the rooms of a client', () => {
  it('account for every message from the join on, once and in order, whatever is joined, left, lost or recovered', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 0, max: 20 }), (steps, keptCount) => {
        const model = new Model(keptCount);
        model.connect();
        for (const { kind, room, count } of steps) {
          if (kind === 'push') model.push(room, count);
          else if (kind === 'drop') model.drop(room, count);
          else if (kind === 'cut') model.cut();
          else if (kind === 'connect') model.connect();
          else if (kind === 'answer') model.answer();
          else if (kind === 'later') model.answer(true);
          else if (kind === 'time') model.timers.advance(count * 1_000);
          else if (kind === 'join') void model.rooms.join([room]);
          else {
            model.rooms.leave([room]);
            // From here on it is another stay, which begins where it is joined again.
            model.accounted.delete(room);
          }
        }
        model.settle();
        expect(model.problems).toEqual([]);
        expect(model.questionCount).toBe(0);
        const wanted = model.rooms.names();
        expect([...model.members].toSorted()).toEqual(wanted.toSorted());
        for (const name of wanted) {
          model.push(name, 1);
          expect(model.accounted.get(name)?.at(-1)).toBe(model.offsets.get(name));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('whoever waits for a join hears of a leave, and of the end of the client', async () => {
    const model = new Model(10);
    const left = model.rooms.join(['live://a']);
    model.rooms.leave(['live://a']);
    expect(await left).toMatchObject([{ room: 'live://a', error: { message: 'the room was left' } }]);
    const closed = model.rooms.join(['live://b']);
    model.rooms.closed(new HalleyError('CLOSED', 'the connection ended'));
    expect(await closed).toMatchObject([{ room: 'live://b', error: { temporary: true } }]);
  });
});
