import { describe, expect, it } from 'vitest';
import { isApplicationOp, isExtensionOp, isKnownOp, OP, OP_DIRECTION, type OpName, opName } from './op.js';

/** goim's operations, facts/goim.md 1.4: number, name as goim has it, direction. */
const GOIM_TABLE = `
| 0 | Handshake | unused |
| 1 | HandshakeReply | unused |
| 2 | Heartbeat | C->S |
| 3 | HeartbeatReply | S->C |
| 4 | SendMsg | C->S |
| 5 | SendMsgReply | S->C |
| 7 | Auth | C->S |
| 8 | AuthReply | S->C |
| 9 | Raw | S->C |
| 10 | ProtoReady | internal |
| 11 | ProtoFinish | internal |
| 12 | ChangeRoom | C->S |
| 13 | ChangeRoomReply | S->C |
| 14 | Sub | C->S |
| 15 | SubReply | S->C |
| 16 | Unsub | C->S |
| 17 | UnsubReply | S->C |`;

/** Halley's, DESIGN.md section 5; a pair of numbers there is two rows here. */
const DESIGN_TABLE = `
| 6 | Disconnect | S->C |
| 18 | JoinRooms | C->S |
| 19 | JoinRoomsReply | S->C |
| 20 | LeaveRooms | C->S |
| 21 | LeaveRoomsReply | S->C |
| 22 | Gap | S->C |
| 23 | Recover | C->S |
| 24 | RecoverReply | S->C |
| 26 | Batch | S->C |
| 30 | ImRequest | C->S |
| 31 | ImResponse | S->C |
| 32 | ImEvent | S->C |
| 33 | ImNotify | S->C |`;

function rowsOf(table: string): { op: number; name: string; direction: string }[] {
  return table
    .trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, op, name, direction]) => ({
      op: Number(op),
      name: name!.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
      direction: direction!,
    }));
}

describe('the table of operations', () => {
  it('equals the tables of goim and of the design, row by row and with nothing more', () => {
    const documented = [...rowsOf(GOIM_TABLE), ...rowsOf(DESIGN_TABLE)].sort((a, b) => a.op - b.op);
    const coded = (Object.keys(OP) as OpName[])
      .map((name) => ({ op: OP[name], name, direction: OP_DIRECTION[name] }))
      .sort((a, b) => a.op - b.op);
    expect(coded).toEqual(documented);
  });

  it('gives every operation a number of its own below the application range', () => {
    const numbers = Object.values(OP);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.every((op) => op >= 0 && op < 1000)).toBe(true);
  });

  it('names known operations and shows the number of others', () => {
    expect(opName(7)).toBe('AUTH');
    expect(opName(26)).toBe('BATCH');
    expect(opName(1000)).toBe('op=1000');
    expect(opName(-3)).toBe('op=-3');
  });

  it('draws the borders between goim, extensions and application at 18 and 1000', () => {
    expect([17, 18, 999, 1000].map(isExtensionOp)).toEqual([false, true, true, false]);
    expect([-1, 999, 1000, 0x7fff_ffff].map(isApplicationOp)).toEqual([false, false, true, true]);
    expect([6, 25, 33, 34].map(isKnownOp)).toEqual([true, false, true, false]);
  });
});
