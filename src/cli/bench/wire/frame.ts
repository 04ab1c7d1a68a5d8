/**
 * WebSocket frames, as little of RFC 6455 as a load client needs: unmasked frames in, masked frames out.
 */
export const FRAME_OPCODE = { TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9 } as const;

const FIN = 0x80;
const MASKED = 0x80;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MASK_BYTES = 4;

/** Sees one whole frame; its payload lies in [start, end) of `bytes` and is valid until it returns. */
export type FrameVisitor = (opcode: number, bytes: Uint8Array, start: number, end: number) => void;

/** Call `visit` for each whole frame in [0, end). Returns where the first incomplete one starts. */
export function walkFrames(bytes: Uint8Array, end: number, visit: FrameVisitor): number {
  let offset = 0;
  while (end - offset >= 2) {
    const short = bytes[offset + 1]! & 0x7f;
    let payloadStart = offset + 2;
    let payloadBytes = short;
    if (short === LENGTH_16) {
      payloadStart += 2;
      if (payloadStart > end) break;
      payloadBytes = (bytes[offset + 2]! << 8) | bytes[offset + 3]!;
    } else if (short === LENGTH_64) {
      payloadStart += 8;
      if (payloadStart > end) break;
      payloadBytes = 0;
      for (let position = offset + 2; position < payloadStart; position++) {
        payloadBytes = payloadBytes * 256 + bytes[position]!;
      }
    }
    const next = payloadStart + payloadBytes;
    if (next > end) break;
    visit(bytes[offset]! & 0x0f, bytes, payloadStart, next);
    offset = next;
  }
  return offset;
}

/** One client frame. Its mask is zero, which leaves the payload as it is: the RFC's randomness is for browsers. */
export function makeClientFrame(payload: Uint8Array, opcode: number = FRAME_OPCODE.BINARY): Buffer {
  const isShort = payload.length < LENGTH_16;
  if (payload.length > 0xffff) throw new Error(`a bench client sends no such frame: payload_bytes=${payload.length}`);
  const headerBytes = (isShort ? 2 : 4) + MASK_BYTES;
  const frame = Buffer.alloc(headerBytes + payload.length);
  frame[0] = FIN | opcode;
  frame[1] = MASKED | (isShort ? payload.length : LENGTH_16);
  if (!isShort) frame.writeUInt16BE(payload.length, 2);
  frame.set(payload, headerBytes);
  return frame;
}
