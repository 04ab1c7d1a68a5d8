/**
 * Every operation of the wire, once: number, name, direction. 0 to 17 are goim's and mean what goim makes them mean;
 * 18 to 999 are Halley's (known ones below, the others reserved); 1000 and above belong to the application.
 *
 * The numbers are fixed for ever. `op.test.ts` compares this table with the tables of the design, row by row.
 */

export const OP = {
  HANDSHAKE: 0,
  HANDSHAKE_REPLY: 1,
  HEARTBEAT: 2,
  HEARTBEAT_REPLY: 3,
  SEND_MSG: 4,
  SEND_MSG_REPLY: 5,
  DISCONNECT: 6,
  AUTH: 7,
  AUTH_REPLY: 8,
  RAW: 9,
  PROTO_READY: 10,
  PROTO_FINISH: 11,
  CHANGE_ROOM: 12,
  CHANGE_ROOM_REPLY: 13,
  SUB: 14,
  SUB_REPLY: 15,
  UNSUB: 16,
  UNSUB_REPLY: 17,
  JOIN_ROOMS: 18,
  JOIN_ROOMS_REPLY: 19,
  LEAVE_ROOMS: 20,
  LEAVE_ROOMS_REPLY: 21,
  GAP: 22,
  RECOVER: 23,
  RECOVER_REPLY: 24,
  BATCH: 26,
  IM_REQUEST: 30,
  IM_RESPONSE: 31,
  IM_EVENT: 32,
  IM_NOTIFY: 33,
} as const;

export type OpName = keyof typeof OP;
export type Op = (typeof OP)[OpName];

/** `internal`: goim's in-process signals, never on the wire. `unused`: goim has the constant and nothing else. */
export type OpDirection = 'C->S' | 'S->C' | 'internal' | 'unused';

/** Who sends which operation. */
export const OP_DIRECTION = {
  HANDSHAKE: 'unused',
  HANDSHAKE_REPLY: 'unused',
  HEARTBEAT: 'C->S',
  HEARTBEAT_REPLY: 'S->C',
  SEND_MSG: 'C->S',
  SEND_MSG_REPLY: 'S->C',
  DISCONNECT: 'S->C',
  AUTH: 'C->S',
  AUTH_REPLY: 'S->C',
  RAW: 'S->C',
  PROTO_READY: 'internal',
  PROTO_FINISH: 'internal',
  CHANGE_ROOM: 'C->S',
  CHANGE_ROOM_REPLY: 'S->C',
  SUB: 'C->S',
  SUB_REPLY: 'S->C',
  UNSUB: 'C->S',
  UNSUB_REPLY: 'S->C',
  JOIN_ROOMS: 'C->S',
  JOIN_ROOMS_REPLY: 'S->C',
  LEAVE_ROOMS: 'C->S',
  LEAVE_ROOMS_REPLY: 'S->C',
  GAP: 'S->C',
  RECOVER: 'C->S',
  RECOVER_REPLY: 'S->C',
  BATCH: 'S->C',
  IM_REQUEST: 'C->S',
  IM_RESPONSE: 'S->C',
  IM_EVENT: 'S->C',
  IM_NOTIFY: 'S->C',
} as const satisfies Record<OpName, OpDirection>;

/** First operation number of Halley's own extensions; goim's end at 17. */
export const FIRST_EXTENSION_OP = 18;
/** First operation number that applications may use as they like. */
export const FIRST_APPLICATION_OP = 1000;

const NAME_BY_OP: ReadonlyMap<number, OpName> = new Map(
  (Object.keys(OP) as OpName[]).map((name): [number, OpName] => [OP[name], name]),
);

/** `HEARTBEAT`, or `op=1000` for a number that is not in the table. For logs and error texts. */
export function opName(op: number): string {
  return NAME_BY_OP.get(op) ?? `op=${op}`;
}

/** True for an operation of the table. */
export function isKnownOp(op: number): op is Op {
  return NAME_BY_OP.has(op);
}

/** True for 1000 and above: its meaning is the application's. Negative numbers are nobody's. */
export function isApplicationOp(op: number): boolean {
  return op >= FIRST_APPLICATION_OP;
}

/** True for 18 to 999: Halley's range. On a channel without `halley: 1` these too go to the application's listener. */
export function isExtensionOp(op: number): boolean {
  return op >= FIRST_EXTENSION_OP && op < FIRST_APPLICATION_OP;
}
