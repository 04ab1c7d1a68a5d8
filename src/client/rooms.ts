/**
 * The rooms of a client: which it wants to be in, which the server has it in, and the stream of each.
 *
 * What is wanted is kept here and goes with every auth; the difference that arose while the auth was under way is sent behind op 8.
 * A room that the server never confirmed is not put into an auth body, where a forbidden one would cost the connection: it is
 * joined by op 18, whose answer names each.
 *
 * Guarantees: those of `RoomStream`, per room and across connections, as long as the room is not left. A promise of `join` settles
 * with the first answer or welcome that settles the room.
 */
import { HalleyError } from '../errors/index.js';
import { encodeUtf8, OP } from '../protocol/index.js';
import type { BodyCodec } from './body-codec.js';
import type { ClientEvents } from './client-events.js';
import type { PlacedMessage } from './downstream.js';
import type { TimerPort } from './ports.js';
import { QuestionQueue } from './question-queue.js';
import type { Reply } from './requests.js';
import { RoomStream } from './room-stream.js';
import {
  type AnswerError,
  type RoomResult,
  readRecovered,
  readRoomResults,
  type ToldGap,
  type Welcome,
} from './server-bodies.js';

export interface RoomsLinks {
  readonly timers: TimerPort;
  readonly codec: BodyCodec;
  readonly random: () => number;
  /** False: there is no open connection, and nothing can be asked. */
  readonly isOpen: () => boolean;
  /** Ask the server; `onFailed` also when the connection ends. @returns gives it up quietly */
  readonly ask: (
    op: number,
    body: Uint8Array,
    onReply: (reply: Reply) => void,
    onFailed: (error: HalleyError) => void,
  ) => () => void;
  readonly emit: <Name extends 'message' | 'gap' | 'recovered' | 'error'>(
    name: Name,
    event: ClientEvents[Name],
  ) => void;
  /** A body could not be read: the connection is of no use. */
  readonly unreadable: (problem: string) => void;
}

interface Room {
  readonly name: string;
  readonly stream: RoomStream<PlacedMessage>;
  /** Wanted by the application beside the primary room; false: primary only, or a backend put us in. */
  isJoined: boolean;
  /** The server has confirmed it once, so it may stand in an auth body. */
  isConfirmed: boolean;
  isLeft: boolean;
  waiters: ((result: RoomResult) => void)[];
  cancelRecovery: (() => void) | undefined;
  temporaryCount: number;
}

/** Rooms in one op 18 or 20: what a server takes by default. */
const ROOMS_PER_REQUEST = 64;
/** Questions under way: enough to hide the way to the node, and far below the 1,024 packets that it keeps waiting by default. */
const MAX_QUESTIONS_COUNT = 16;
/** Refusals "for now" of one hole before it is given up, and the bound of the random wait before the next question. */
const MAX_TEMPORARY_COUNT = 6;
const TEMPORARY_BASE_MS = 400;
/** A room that the server refuses for now is joined again after so long, up to twice. */
const REJOIN_MS = 3_000;

export class Rooms {
  readonly #links: RoomsLinks;
  readonly #maxKept: number;
  readonly #rooms = new Map<string, Room>();
  /** Left, and the server has not said so yet: what still arrives of them is not wanted. */
  readonly #leaving = new Set<string>();
  readonly #questions: QuestionQueue;
  #primary = '';
  /** The primary room and the others in the auth body that is under way. */
  #authPrimary = '';
  #authRooms: ReadonlySet<string> = new Set();

  constructor(links: RoomsLinks, maxKept: number, rooms: readonly string[], primary: string) {
    this.#links = links;
    this.#maxKept = maxKept;
    this.#questions = new QuestionQueue(MAX_QUESTIONS_COUNT, links.isOpen);
    for (const name of rooms) {
      const room = this.#roomFor(name);
      room.isJoined = true;
      room.isConfirmed = true;
    }
    this.#primary = primary;
    if (primary !== '') this.#roomFor(primary);
  }

  /** Wanted rooms, the primary one first. */
  names(): string[] {
    const joined = [...this.#rooms.values()].filter((room) => room.isJoined && room.name !== this.#primary);
    return [...(this.#primary === '' ? [] : [this.#primary]), ...joined.map((room) => room.name)];
  }

  get primary(): string {
    return this.#primary;
  }

  /**
   * For the auth body that goes out now: `room_id` and `rooms`, oldest first.
   * @param choose gives those of them that find room in the body
   */
  forAuth(choose: (rooms: readonly string[]) => readonly string[]): {
    readonly primary: string;
    readonly rooms: readonly string[];
  } {
    const primary = this.#primary;
    const known = [...this.#rooms.values()].filter(
      (room) => room.isJoined && room.isConfirmed && room.name !== primary,
    );
    const rooms = choose(known.map((room) => room.name));
    this.#authPrimary = primary;
    this.#authRooms = new Set(rooms);
    return { primary, rooms };
  }

  /** None of them may stand in the next auth body: the server refused one, and only op 19 says which. */
  distrust(): void {
    for (const room of this.#rooms.values()) room.isConfirmed = false;
  }

  /** Op 8: places, then whatever changed since the auth body was written. */
  welcomed(welcome: Welcome): void {
    const isIn = new Set(welcome.rooms.map((place) => place.room));
    const isWanted = (name: string) => name === this.#primary || this.#rooms.get(name)?.isJoined === true;
    this.#sendLeave([...this.#authRooms].filter((name) => isIn.has(name) && !isWanted(name)));
    for (const place of welcome.rooms) {
      const wasAsked = place.room === this.#authPrimary || this.#authRooms.has(place.room);
      // What we did not ask for somebody else put us into: it is followed, too.
      if (!wasAsked) this.#roomFor(place.room);
      if (!wasAsked || isWanted(place.room)) this.#settle(place);
    }
    if (this.#primary !== this.#authPrimary) this.#sendPrimary(this.#authPrimary);
    this.#sendJoin(this.names().filter((name) => !isIn.has(name) && name !== this.#primary));
  }

  disconnected(): void {
    this.#leaving.clear();
    this.#questions.clear();
    for (const room of [...this.#rooms.values()]) {
      this.#stopRecovery(room);
      room.stream.disconnected();
      // A backend put us in; whether it does so again is its business.
      if (!room.isJoined && room.name !== this.#primary) this.#remove(room);
    }
  }

  /** The client is closed for good: nobody waits any longer. */
  closed(error: HalleyError): void {
    this.disconnected();
    const failure = { code: 0, message: error.message, temporary: true };
    for (const room of this.#rooms.values()) {
      for (const waiter of room.waiters.splice(0)) waiter({ room: room.name, epoch: 0, offset: 0, error: failure });
    }
  }

  join(names: readonly string[]): Promise<RoomResult[]> {
    const results = names.map(
      (name) =>
        new Promise<RoomResult>((resolve) => {
          const room = this.#roomFor(name);
          room.isJoined = true;
          room.waiters.push(resolve);
        }),
    );
    if (this.#links.isOpen()) this.#sendJoin(names);
    return Promise.all(results);
  }

  leave(names: readonly string[]): void {
    for (const name of names) {
      const room = this.#rooms.get(name);
      if (room === undefined) continue;
      if (name === this.#primary) this.#primary = '';
      this.#remove(room);
    }
    if (this.#links.isOpen()) this.#sendLeave(names);
  }

  /** Move the primary room; '' leaves it. The promise settles like one of `join`. */
  changePrimary(name: string): Promise<RoomResult> {
    const previous = this.#primary;
    this.#primary = name;
    const left = this.#rooms.get(previous);
    if (left !== undefined && previous !== name && !left.isJoined) this.#remove(left);
    if (name === '') {
      if (this.#links.isOpen()) this.#sendPrimary(previous);
      return Promise.resolve({ room: '', epoch: 0, offset: 0 });
    }
    return new Promise((resolve) => {
      this.#roomFor(name).waiters.push(resolve);
      if (this.#links.isOpen()) this.#sendPrimary(previous);
    });
  }

  arrived(name: string, epoch: number, messages: readonly PlacedMessage[]): void {
    if (this.#rooms.has(name) || !this.#leaving.has(name)) this.#roomFor(name).stream.arrived(epoch, messages);
  }

  /** Op 22 of a room. */
  gapTold({ room: name, epoch, offset, isUnplaced }: ToldGap): void {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    // The answer to a question that is under way may have been dropped with the rest: ask again.
    this.#stopRecovery(room);
    room.stream.placed({ epoch, offset });
    if (isUnplaced) this.#links.emit('gap', { scope: 'room', room: name, epoch, isUnplaced });
  }

  #roomFor(name: string): Room {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = this.#newRoom(name);
      this.#rooms.set(name, room);
    }
    return room;
  }

  #newRoom(name: string): Room {
    const { emit } = this.#links;
    const room: Room = {
      name,
      isJoined: false,
      isConfirmed: false,
      isLeft: false,
      waiters: [],
      cancelRecovery: undefined,
      temporaryCount: 0,
      // A listener may leave the room in the middle of a batch: nothing of it is told any more.
      stream: new RoomStream<PlacedMessage>(
        {
          deliver: (_epoch, one) => {
            if (!room.isLeft) emit('message', one);
          },
          gap: (hole) => {
            if (!room.isLeft) emit('gap', { scope: 'room', room: name, ...hole });
          },
          recovered: (messageCount, to) => {
            room.temporaryCount = 0;
            const epoch = room.stream.place?.epoch ?? 0;
            if (!room.isLeft) emit('recovered', { room: name, epoch, messageCount, to });
          },
          ask: (epoch, offset) => this.#recover(room, epoch, offset),
        },
        this.#maxKept,
      ),
    };
    return room;
  }

  #remove(room: Room): void {
    this.#stopRecovery(room);
    room.isLeft = true;
    this.#rooms.delete(room.name);
    const error = { code: 0, message: 'the room was left', temporary: true };
    for (const waiter of room.waiters.splice(0)) waiter({ room: room.name, epoch: 0, offset: 0, error });
  }

  /** A room of op 8 or 19. */
  #settle(result: RoomResult): void {
    const room = this.#rooms.get(result.room);
    if (room === undefined) return;
    const { epoch, offset, error } = result;
    if (error === undefined) {
      room.isConfirmed = true;
      // A second answer for a room that is being followed tells nothing new, and asking again would be in vain.
      if (!(room.stream.isBehind && room.cancelRecovery !== undefined)) room.stream.placed({ epoch, offset });
    } else if (error.temporary && room.waiters.length === 0) {
      this.#joinLater(room);
      return;
    } else {
      this.#refused(room, result, error);
      return;
    }
    for (const waiter of room.waiters.splice(0)) waiter(result);
  }

  /** The server does not let us in. Whoever waits for the join hears it; a room that we were in ends in a gap without an end. */
  #refused(room: Room, result: RoomResult, error: AnswerError): void {
    const waiters = room.waiters.splice(0);
    const place = room.stream.place;
    if (this.#primary === room.name) this.#primary = '';
    this.#remove(room);
    for (const waiter of waiters) waiter(result);
    if (waiters.length > 0) return;
    if (place !== undefined) {
      this.#links.emit('gap', { scope: 'room', room: room.name, from: place.offset + 1, epoch: place.epoch });
    }
    this.#links.emit(
      'error',
      new HalleyError('ROOM_REFUSED', 'the server refused a room', {
        room: room.name,
        code: error.code,
        reason: error.message,
      }),
    );
  }

  #joinLater(room: Room): void {
    const delayMs = REJOIN_MS * (1 + this.#links.random());
    room.cancelRecovery = this.#links.timers.schedule(delayMs, () => {
      room.cancelRecovery = undefined;
      if (this.#links.isOpen()) this.#sendJoin([room.name]);
    });
  }

  #sendJoin(names: readonly string[]): void {
    for (const slice of slicesOf(names)) {
      this.#ask(
        OP.JOIN_ROOMS,
        this.#links.codec.encode(slice),
        ({ body }) => {
          const results = readRoomResults(this.#links.codec, body);
          if (results === undefined) this.#links.unreadable('op 19 is malformed');
          else for (const result of results) this.#settle(result);
        },
        (error) => {
          // Otherwise the connection ended, and the welcome of the next one settles them.
          if (error.code === 'REQUEST_TIMEOUT') this.#links.unreadable('op 18 was not answered');
        },
      );
    }
  }

  #sendLeave(names: readonly string[]): void {
    for (const name of names) this.#leaving.add(name);
    for (const slice of slicesOf(names)) {
      const settled = () => {
        for (const name of slice) this.#leaving.delete(name);
      };
      this.#ask(OP.LEAVE_ROOMS, this.#links.codec.encode(slice), settled, settled);
    }
  }

  #sendPrimary(previous: string): void {
    const name = this.#primary;
    const wasLeft = previous !== '' && !this.#rooms.has(previous);
    if (wasLeft) this.#leaving.add(previous);
    this.#ask(
      OP.CHANGE_ROOM,
      encodeUtf8(name),
      () => {
        if (wasLeft) this.#leaving.delete(previous);
        // Op 13 says neither whether it worked nor where the room stands; the answer to a join of what we are in does. The
        // server has left the previous one even where it had been joined too.
        const isStillWanted = this.#rooms.get(previous)?.isJoined === true;
        this.#sendJoin([
          ...(name === '' || name !== this.#primary ? [] : [name]),
          ...(isStillWanted && previous !== name ? [previous] : []),
        ]);
      },
      () => {
        if (wasLeft) this.#leaving.delete(previous);
      },
    );
  }

  /** In its turn. @returns gives it up quietly */
  #ask(
    op: number,
    body: Uint8Array,
    onReply: (reply: Reply) => void,
    onFailed: (error: HalleyError) => void,
  ): () => void {
    return this.#questions.add((settled) =>
      this.#links.ask(
        op,
        body,
        (reply) => {
          settled();
          onReply(reply);
        },
        (error) => {
          settled();
          onFailed(error);
        },
      ),
    );
  }

  #recover(room: Room, epoch: number, offset: number): void {
    this.#stopRecovery(room);
    if (!this.#links.isOpen()) return;
    const { codec } = this.#links;
    const answered = ({ body }: Reply): void => {
      room.cancelRecovery = undefined;
      const answer = readRecovered(codec, body);
      if (answer === undefined) this.#links.unreadable('op 24 is malformed');
      else if (answer === 'temporary') this.#recoverLater(room, epoch, offset);
      else if (answer === 'refused') room.stream.refused();
      else
        room.stream.recovered(
          answer[0]?.epoch ?? epoch,
          answer.flatMap(({ messages }) => messages),
        );
    };
    room.cancelRecovery = this.#ask(OP.RECOVER, codec.encode({ room: room.name, epoch, offset }), answered, (error) => {
      room.cancelRecovery = undefined;
      if (error.code === 'REQUEST_TIMEOUT') this.#recoverLater(room, epoch, offset);
    });
  }

  #recoverLater(room: Room, epoch: number, offset: number): void {
    room.temporaryCount += 1;
    if (room.temporaryCount > MAX_TEMPORARY_COUNT) {
      room.temporaryCount = 0;
      room.stream.refused();
      return;
    }
    const delayMs = this.#links.random() * TEMPORARY_BASE_MS * 2 ** room.temporaryCount;
    room.cancelRecovery = this.#links.timers.schedule(delayMs, () => this.#recover(room, epoch, offset));
  }

  #stopRecovery(room: Room): void {
    room.cancelRecovery?.();
    room.cancelRecovery = undefined;
  }
}

function slicesOf(names: readonly string[]): string[][] {
  const slices: string[][] = [];
  for (let at = 0; at < names.length; at += ROOMS_PER_REQUEST) slices.push(names.slice(at, at + ROOMS_PER_REQUEST));
  return slices;
}
