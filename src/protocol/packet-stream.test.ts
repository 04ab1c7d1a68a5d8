import { describe, expect, it } from 'vitest';
import { concat, GOLDEN_PACKETS, hex, seededRandom, toHex } from './fixtures/traffic.js';
import { OP } from './op.js';
import { encodePacket, PARSE, parseOutcomeName } from './packet.js';
import { PacketStream } from './packet-stream.js';

/** Two limits, so that the one of each operation shows. */
const limitBytesOf = (op: number): number => (op === OP.IM_REQUEST ? 65_536 : 4096);

/** Everything that comes out of a stream, as text: packets, then the outcome it stopped with. */
function drain(stream: PacketStream, into: string[]): void {
  let outcome = stream.next();
  for (; outcome === PARSE.OK; outcome = stream.next()) {
    const { ver, op, seq, bodyOffset, bodyBytes } = stream.header;
    into.push(`${ver} ${op} ${seq} ${toHex(stream.bytes.subarray(bodyOffset, bodyOffset + bodyBytes))}`);
  }
  if (outcome !== PARSE.NEED_MORE) into.push(parseOutcomeName(outcome));
}

function decodeChunks(chunks: readonly Uint8Array[]): string[] {
  const stream = new PacketStream(limitBytesOf);
  const out: string[] = [];
  for (const chunk of chunks) {
    stream.feed(chunk);
    drain(stream, out);
    if (PARSE_NAMES_OF_REFUSAL.has(out.at(-1) ?? '')) return out;
  }
  if (stream.keptBytes > 0) out.push(`kept ${stream.keptBytes}`);
  return out;
}

const PARSE_NAMES_OF_REFUSAL = new Set(['BAD_HEADER_LENGTH', 'BAD_LENGTH', 'TOO_LARGE']);

/** Whole traffics: golden packets, goim's tolerances, refusals in the middle and an end inside a packet. */
const TRAFFICS: Record<string, Uint8Array> = {
  ...Object.fromEntries(GOLDEN_PACKETS.map((golden) => [golden.name, hex(golden.bytes)])),
  'all golden packets back to back': hex(GOLDEN_PACKETS.map((golden) => golden.bytes).join('')),
  'lengths of 0 and -1 between packets': hex(
    `${GOLDEN_PACKETS[0]!.bytes} 00000000 0010 0001 00000002 00000001 ffffffff 0010 0001 00000002 00000002 ${GOLDEN_PACKETS[3]!.bytes}`,
  ),
  'a wrong header length after a good packet': hex(
    `${GOLDEN_PACKETS[1]!.bytes} 00000010 0011 0001 00000002 00000001 ${GOLDEN_PACKETS[0]!.bytes}`,
  ),
  'a body above the limit after a good packet': hex(
    `${GOLDEN_PACKETS[1]!.bytes} 00001011 0010 0001 00000002 00000001 ${GOLDEN_PACKETS[0]!.bytes}`,
  ),
  'an end inside a body': hex(`${GOLDEN_PACKETS[0]!.bytes} 00000014 0010 0001 00000002 00000001 0000`),
  'an end inside a header': hex(`${GOLDEN_PACKETS[0]!.bytes} 00000014 0010`),
};

describe('PacketStream', () => {
  for (const [name, bytes] of Object.entries(TRAFFICS)) {
    it(`gives the same packets and outcome for every split: ${name}`, () => {
      const whole = decodeChunks([bytes]);
      expect(whole.length).toBeGreaterThan(0);
      for (let cut = 0; cut <= bytes.length; cut++) {
        expect(decodeChunks([bytes.slice(0, cut), bytes.slice(cut)]), `cut at ${cut}`).toEqual(whole);
      }
      expect(decodeChunks(Array.from(bytes, (byte) => Uint8Array.of(byte))), 'byte by byte').toEqual(whole);
    });
  }

  it('reads the golden packets out of the stream as they were sent', () => {
    expect(decodeChunks([TRAFFICS['all golden packets back to back']!])).toEqual(
      GOLDEN_PACKETS.map(({ ver, op, seq, body }) => `${ver} ${op} ${seq} ${body}`),
    );
  });

  it('accepts goim’s lengths below 16 as empty bodies', () => {
    expect(decodeChunks([TRAFFICS['lengths of 0 and -1 between packets']!])).toEqual([
      '7 8 42 ',
      '1 2 1 ',
      '1 2 2 ',
      '1 1000 0 7b2274657374223a317d',
    ]);
  });

  it('stays refused after the first malformed packet', () => {
    const stream = new PacketStream(limitBytesOf);
    stream.feed(TRAFFICS['a wrong header length after a good packet']!);
    expect(stream.next()).toBe(PARSE.OK);
    expect(stream.next()).toBe(PARSE.BAD_HEADER_LENGTH);
    stream.feed(hex(GOLDEN_PACKETS[0]!.bytes));
    expect(stream.next()).toBe(PARSE.BAD_HEADER_LENGTH);
    expect(stream.keptBytes).toBe(0);
  });

  it('applies the limit of each operation as soon as the header is there', () => {
    const large = encodePacket(OP.IM_REQUEST, 1, 1, new Uint8Array(5000));
    expect(decodeChunks([large])).toHaveLength(1);
    expect(decodeChunks([large.slice(0, 16)])).toEqual(['kept 16']);
    const sameWithAnotherOp = encodePacket(1000, 1, 1, new Uint8Array(5000));
    expect(decodeChunks([sameWithAnotherOp.slice(0, 15)])).toEqual(['kept 15']);
    expect(decodeChunks([sameWithAnotherOp.slice(0, 16)])).toEqual(['TOO_LARGE']);
  });

  it('keeps no more than has arrived of one packet, and nothing between packets', () => {
    const stream = new PacketStream(limitBytesOf);
    const packet = encodePacket(OP.IM_REQUEST, 1, 1, new Uint8Array(60_000));
    let arrivedBytes = 0;
    for (let offset = 0; offset < packet.length; offset += 777) {
      const chunk = packet.subarray(offset, Math.min(offset + 777, packet.length));
      arrivedBytes += chunk.length;
      stream.feed(chunk);
      const outcome = stream.next();
      expect(outcome).toBe(arrivedBytes === packet.length ? PARSE.OK : PARSE.NEED_MORE);
      expect(stream.keptBytes).toBe(outcome === PARSE.OK ? 0 : arrivedBytes);
    }
    expect(stream.next()).toBe(PARSE.NEED_MORE);
    expect(stream.bytes.length).toBe(0);
  });

  it('refuses to be fed while packets are waiting', () => {
    const stream = new PacketStream(limitBytesOf);
    stream.feed(TRAFFICS['all golden packets back to back']!);
    expect(stream.next()).toBe(PARSE.OK);
    expect(() => stream.feed(hex('00'))).toThrow('waitingBytes=97');
  });

  it('decodes random traffic in random chunks to the packets that went in', () => {
    const seed = 20_261_122;
    const random = seededRandom(seed);
    for (let round = 0; round < 200; round++) {
      const expected: string[] = [];
      const packets: Uint8Array[] = [];
      for (let count = 1 + Math.floor(random() * 20); count > 0; count--) {
        const op = Math.floor(random() * 2000);
        const body = Uint8Array.from({ length: Math.floor(random() ** 4 * 4096) }, () => random() * 256);
        packets.push(encodePacket(op, count, 1, body));
        expected.push(`1 ${op} ${count} ${toHex(body)}`);
      }
      const bytes = concat(...packets);
      const chunks: Uint8Array[] = [];
      for (let offset = 0; offset < bytes.length; ) {
        const endOffset = offset + 1 + Math.floor(random() ** 3 * 3000);
        chunks.push(bytes.slice(offset, endOffset));
        offset = endOffset;
      }
      expect(decodeChunks(chunks), `seed=${seed} round=${round}`).toEqual(expected);
    }
  });
});
