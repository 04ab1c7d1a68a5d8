/** Small helpers of the wire tests: bytes from hex, packets, and a raw socket that has passed auth. */
import { encodePacket } from '../../src/protocol/index.js';
import { RawSocket } from '../kit/index.js';

/** Bytes from hex digits; blanks are for the reader. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

export function packet(op: number, seq: number, body: string | Uint8Array = '', ver = 1): Buffer {
  return Buffer.from(encodePacket(op, seq, ver, typeof body === 'string' ? Buffer.from(body) : body));
}

/** A packet whose length field says `declaredBytes`, whatever it really has. */
export function packetSaying(declaredBytes: number, op: number, seq: number, body: string | Uint8Array = ''): Buffer {
  const bytes = packet(op, seq, body);
  bytes.writeInt32BE(declaredBytes, 0);
  return bytes;
}

/** Upgrade and pass auth with this body; the reply is frame 0. */
export async function rawLogin(port: number, authBody: string): Promise<RawSocket> {
  const raw = await RawSocket.upgrade(port);
  raw.frame(packet(7, 1, authBody));
  await raw.frameAt(0);
  return raw;
}
