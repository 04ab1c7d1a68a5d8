import { describe, expect, it } from 'vitest';
import { messagesOfTarget } from './feed.js';
import { makeClientFrame, walkFrames } from './frame.js';
import { MESSAGE_BYTES, makeMessage, readNumber, readStampNs } from './message.layout.js';
import { INNER_BYTES, makeBatch, makePacket, OPERATION, visitPackets } from './packet.js';

/** A server's frame: unmasked, with the shortest length form, or the form asked for. */
function serverFrame(payload: Uint8Array): Buffer {
  const length = payload.length;
  let head: Buffer;
  if (length < 126) {
    head = Buffer.from([0x82, length]);
  } else if (length <= 0xffff) {
    head = Buffer.from([0x82, 126, length >> 8, length & 0xff]);
  } else {
    head = Buffer.alloc(10);
    head[0] = 0x82;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

function payloadsOf(bytes: Uint8Array): { payloads: string[]; walked: number } {
  const payloads: string[] = [];
  const walked = walkFrames(bytes, bytes.length, (_opcode, of, start, end) => {
    payloads.push(Buffer.from(of.slice(start, end)).toString('hex'));
  });
  return { payloads, walked };
}

describe('the message', () => {
  it('is 64 bytes and carries its number and its time back', () => {
    const message = makeMessage(1_234_567, 98_765_432_109_876);
    expect(message.toString('latin1')).toBe(`MSG;n=0001234567;ts=0000098765432109876;${'A'.repeat(24)}`);
    expect(message.length).toBe(MESSAGE_BYTES);
    const shifted = Buffer.concat([Buffer.alloc(5), message]);
    expect(readNumber(shifted, 5)).toBe(1_234_567);
    expect(readStampNs(shifted, 5)).toBe(98_765_432_109_876);
  });
});

describe('packets', () => {
  it('are goim bytes: a push of "one" is the golden frame of the real server', () => {
    const golden = '0000002300100001000000090000000000000013001000010000'.concat('03e8000000006f6e65');
    expect(makeBatch(1000, [Buffer.from('one')]).toString('hex')).toBe(golden);
  });

  it('of a batch are visited one by one, bare ones as themselves', () => {
    const seen: string[] = [];
    const visit = (op: number, bytes: Uint8Array, start: number, end: number): void => {
      seen.push(`${op}:${Buffer.from(bytes.slice(start, end)).toString()}`);
    };
    const batch = makeBatch(OPERATION.PUSHED, [Buffer.from('a'), Buffer.from('bc')]);
    visitPackets(batch, 0, batch.length, visit);
    const bare = makePacket(OPERATION.AUTH_REPLY, 1, new Uint8Array(0));
    visitPackets(bare, 0, bare.length, visit);
    expect(seen).toEqual(['1000:a', '1000:bc', '8:']);
    expect(makeBatch(OPERATION.PUSHED, [makeMessage(0, 0)]).length).toBe(16 + INNER_BYTES);
  });

  it('that are none are an error, not a count', () => {
    const batch = makeBatch(OPERATION.PUSHED, [Buffer.from('abc')]);
    expect(() => visitPackets(batch, 0, batch.length - 1, () => undefined)).toThrow(/not a goim packet/);
    expect(() => visitPackets(Buffer.alloc(16), 0, 16, () => undefined)).toThrow(/not a goim packet/);
  });
});

describe('frames', () => {
  const payloads = [3, 125, 126, 200, 65_535, 65_536].map((length) => Buffer.alloc(length, length & 0xff));
  const stream = Buffer.concat(payloads.map(serverFrame));

  it('of every length form are found in one read', () => {
    const { payloads: found, walked } = payloadsOf(stream);
    expect(found).toEqual(payloads.map((payload) => payload.toString('hex')));
    expect(walked).toBe(stream.length);
  });

  it('cut at any byte are left for the next read', () => {
    const short = Buffer.concat([serverFrame(Buffer.from('ab')), serverFrame(Buffer.alloc(130, 7))]);
    for (let cut = 0; cut <= short.length; cut++) {
      const first = payloadsOf(short.subarray(0, cut));
      const rest = payloadsOf(short.subarray(first.walked));
      expect([...first.payloads, ...rest.payloads]).toEqual([Buffer.from('ab').toString('hex'), '07'.repeat(130)]);
      expect(first.walked + rest.walked).toBe(short.length);
    }
  });

  it('of a client are masked with zero, so that the payload stands in them as it is', () => {
    const frame = makeClientFrame(Buffer.from('hello'));
    expect(frame.toString('hex')).toBe(`8285${'00'.repeat(4)}${Buffer.from('hello').toString('hex')}`);
    expect(makeClientFrame(Buffer.alloc(200)).subarray(0, 4).toString('hex')).toBe('82fe00c8');
  });
});

describe('messagesOfTarget', () => {
  it('adds up to all messages, the first targets getting the rest', () => {
    const counts = Array.from({ length: 3 }, (_, index) => messagesOfTarget(11, 3, index));
    expect(counts).toEqual([4, 4, 3]);
  });
});
