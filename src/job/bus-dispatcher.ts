/**
 * BusDispatcher: what the bus brings to this node, to where it belongs: pushes to the inlet, closes and administrative calls to
 * the comet, answers to who asked, histories to their rooms.
 *
 * Threads: control thread only.
 * Guarantees: order of arrival for pushes; nothing throws.
 */
import { DiscardCounter } from '../errors/index.js';
import type { BusAllMessage, BusNodeMessage, BusRoomMessage } from '../protocol/index.js';
import type {
  BusListener,
  ClusterBus,
  CometPort,
  DisconnectAdvice,
  GapScope,
  MaybePromise,
  SessionOwner,
} from '../push/index.js';
import type { Logger } from '../telemetry/index.js';
import type { BusInlet } from './bus-inlet.js';
import type { ClusterAdmin } from './cluster-admin.js';
import type { PushIntake } from './push-intake.js';

export interface BusDispatcherParts {
  readonly bus: ClusterBus;
  readonly inlet: BusInlet;
  readonly intake: PushIntake;
  readonly admin: ClusterAdmin;
  readonly comet: Pick<CometPort, 'disconnect' | 'joinRooms' | 'leaveRooms'>;
  /** Close one connection of this node if it still is this one (a takeover). */
  readonly closeConnection: (owner: SessionOwner, advice: DisconnectAdvice) => void;
  /** What a room with history published. */
  readonly onHistory: (room: string, bytes: Uint8Array) => void;
  /** Rooms with history whose messages may have been missed. */
  readonly onRoomsMissed: (rooms: readonly string[], mayLackPlace?: boolean) => void;
  readonly log: Logger;
}

export class BusDispatcher implements BusListener {
  readonly discards = new DiscardCounter();
  readonly #parts: BusDispatcherParts;

  constructor(parts: BusDispatcherParts) {
    this.#parts = parts;
  }

  onRoom(room: string, { op, body, messageId, place }: BusRoomMessage): void {
    this.#parts.inlet.push({
      target: { kind: 'rooms', rooms: [room] },
      op,
      body,
      messageId,
      ...(place === undefined ? {} : { place }),
    });
  }

  onHistory(room: string, bytes: Uint8Array): void {
    this.#parts.onHistory(room, bytes);
  }

  onAll({ op, body, messageId, speedPerSec }: BusAllMessage): void {
    this.#parts.inlet.push({ target: { kind: 'all', speedPerSec }, op, body, messageId });
  }

  onPush(bytes: Uint8Array): void {
    this.#parts.intake.take(bytes);
  }

  onMissed(scope: GapScope): void {
    // What goes to all and what goes to the push channel comes by the same connection.
    if (scope.kind === 'all') this.#parts.intake.missed();
    this.#parts.inlet.missed(scope);
  }

  onRoomsMissed(rooms: readonly string[], mayLackPlace = false): void {
    this.#parts.onRoomsMissed(rooms, mayLackPlace);
  }

  onNode(message: BusNodeMessage, from: string): void {
    const { inlet, comet, admin } = this.#parts;
    switch (message.kind) {
      case 'keys': {
        const { keys, ignoresWatchSet, op, body, messageId } = message;
        inlet.push({ target: { kind: 'keys', keys, ignoresWatchSet }, op, body, messageId });
        return;
      }
      case 'mids': {
        const { mids, op, body, messageId } = message;
        inlet.push({ target: { kind: 'mids', mids }, op, body, messageId });
        return;
      }
      case 'close':
        this.#parts.closeConnection(message.owner, message.advice);
        return;
      case 'disconnect':
        this.#answer(from, message.requestId, comet.disconnect(message, message.advice));
        return;
      case 'join':
        this.#answer(from, message.requestId, comet.joinRooms(message, message.rooms));
        return;
      case 'leave':
        this.#answer(from, message.requestId, comet.leaveRooms(message, message.rooms));
        return;
      case 'answer':
        admin.answered(message.requestId, message.count);
    }
  }

  #answer(to: string, requestId: number, counting: MaybePromise<number>): void {
    const { bus, log } = this.#parts;
    Promise.resolve(counting)
      .then((count) => bus.publishNode(to, { kind: 'answer', requestId, count }))
      .catch((error: unknown) => {
        // Who asked is told by its own deadline.
        this.discards.ignore(error, 'answer to a node');
        log.debug({ err: error, to }, 'an administrative call could not be answered');
      });
  }
}
