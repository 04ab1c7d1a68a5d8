/** What a client tells. */
import type { HalleyError } from '../errors/index.js';
import { u64ToText } from '../protocol/index.js';
import { MessageBody } from './body-codec.js';
import type { Place } from './server-bodies.js';

/** `waiting`: for the next attempt. `closed`: there will be none, until `connect` is called. */
export type ClientState = 'idle' | 'connecting' | 'open' | 'waiting' | 'closed';

/** A push. */
export class ClientMessage {
  readonly op: number;
  /** Of its packet: 0 unless the server answers something. */
  readonly seq: number;
  /** View of the message it came in. */
  readonly body: MessageBody;
  readonly scope: 'room' | 'direct' | 'all' | 'unknown';
  /** Only if `scope` is `room`. */
  readonly room: string | undefined;
  /** Place in the sequence of its room, or of the pushes to all. */
  readonly epoch: number | undefined;
  readonly offset: number | undefined;
  readonly #idHi: number;
  readonly #idLo: number;

  constructor(
    op: number,
    seq: number,
    body: Uint8Array<ArrayBuffer>,
    scope: ClientMessage['scope'],
    room: string | undefined,
    place: Place | undefined,
    idHi: number,
    idLo: number,
  ) {
    this.op = op;
    this.seq = seq;
    this.body = MessageBody.view(body);
    this.scope = scope;
    this.room = room;
    this.epoch = place?.epoch;
    this.offset = place?.offset;
    this.#idHi = idHi;
    this.#idLo = idLo;
  }

  /** Its snowflake in decimal, undefined without one. */
  get id(): string | undefined {
    return this.#idHi === 0 && this.#idLo === 0 ? undefined : u64ToText(this.#idHi, this.#idLo);
  }
}

/** Something was missed and will not come. Told once. */
export interface GapEvent {
  readonly scope: 'room' | 'direct' | 'all';
  readonly room?: string;
  /** The first and the last offset that is missing. Not of direct pushes, which have none. */
  readonly from?: number;
  readonly to?: number;
  readonly epoch?: number;
  /** The room's sequence began anew: of the old one's end it is not known what was missed. */
  readonly isNewEpoch?: boolean;
  /** Something was never kept, so it has no offset, and there is no `from` and `to`. */
  readonly isUnplaced?: boolean;
}

export interface ClientEvents {
  open: {
    readonly key: string;
    readonly address: string;
    readonly transport: string;
    /** False for the first time since `connect`. */
    readonly isReconnect: boolean;
  };
  /** A connection that was open ended, or the client gave up. */
  close: { readonly code: number; readonly reason: string; readonly willReconnect: boolean };
  message: ClientMessage;
  gap: GapEvent;
  /** Messages that were missed have been handed out, the last with offset `to`. */
  recovered: { readonly room: string; readonly epoch: number; readonly messageCount: number; readonly to: number };
  /** Something went wrong that ends nothing. */
  error: HalleyError;
  reconnecting: {
    /** From 1, since the last time it was open. */
    readonly attemptCount: number;
    readonly delayMs: number;
    readonly code: number;
    readonly reason: string;
  };
  stateChange: { readonly from: ClientState; readonly to: ClientState };
}
