import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePacket, FRAMING, PARSE, PacketHeader, type PacketStream, readPacket } from '../../protocol/index.js';
import { PacketSplitter } from './packet-splitter.js';

const MAX_BODY_BYTES = 256;

class Source {
  stream: PacketStream | undefined = undefined;
  isOpen = true;
  limitBytes = MAX_BODY_BYTES;
  readonly packets: string[] = [];
}

/** What the packet handler makes of it: it reads one message. */
function textOf(packet: Uint8Array): string {
  const header = new PacketHeader();
  const outcome = readPacket(packet, 0, packet.length, header, MAX_BODY_BYTES, FRAMING.MESSAGE);
  if (outcome !== PARSE.OK) return `refused ${outcome}`;
  expect(header.packetBytes).toBe(packet.length);
  return `${header.op} ${header.seq} ${Buffer.from(packet.subarray(16)).toString('hex')}`;
}

const splitterFor = (take?: (source: Source) => void) =>
  new PacketSplitter<Source>(
    ({ limitBytes }) => limitBytes,
    (source, packet) => {
      source.packets.push(textOf(packet));
      take?.(source);
    },
  );

function saying(declaredBytes: number, headerBytes: number, seq: number): Uint8Array {
  const packet = encodePacket(2, seq, 1);
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setInt32(0, declaredBytes);
  view.setInt16(4, headerBytes);
  return packet;
}

describe('the splitter of a door', () => {
  it('gives every socket its own packets, whatever the pieces and their order', () => {
    const body = fc.uint8Array({ maxLength: MAX_BODY_BYTES });
    const sends = fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), body), { maxLength: 40 });
    const cuts = fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 1, max: 400 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(sends, cuts, (sent, pieces) => {
        const splitter = splitterFor();
        const sources = [new Source(), new Source(), new Source()];
        const wanted: string[][] = [[], [], []];
        const rest = sources.map((_, index) => {
          const own = sent.filter(([to]) => to === index);
          wanted[index] = own.map(([, bytes], seq) => `1000 ${seq} ${Buffer.from(bytes).toString('hex')}`);
          return Buffer.concat(own.map(([, bytes], seq) => encodePacket(1000, seq, 1, bytes)));
        });
        const feed = (index: number, bytes: number) => {
          expect(splitter.split(sources[index]!, new Uint8Array(rest[index]!.subarray(0, bytes)))).toBe(true);
          rest[index] = rest[index]!.subarray(bytes);
        };
        for (const [index, bytes] of pieces) feed(index, bytes);
        for (const index of sources.keys()) feed(index, rest[index]!.length);
        expect(sources.map(({ packets }) => packets)).toEqual(wanted);
        expect(sources.map(({ stream }) => stream)).toEqual([undefined, undefined, undefined]);
      }),
    );
  });

  it.each([15, 0, -1, -2_147_483_648])('makes a length of %i the one it means', (declaredBytes) => {
    const source = new Source();
    expect(splitterFor().split(source, Buffer.concat([saying(declaredBytes, 16, 1), saying(16, 16, 2)]))).toBe(true);
    expect(source.packets).toEqual(['2 1 ', '2 2 ']);
  });

  it.each([
    ['a wrong header length', saying(16, 17, 2), `refused ${PARSE.BAD_HEADER_LENGTH}`],
    ['a body above the limit', saying(16 + MAX_BODY_BYTES + 1, 16, 2), `refused ${PARSE.TOO_LARGE}`],
  ])('refuses %s behind what was good, with the reason as a last packet', (_, bad, refusal) => {
    const splitter = splitterFor();
    const source = new Source();
    expect(splitter.split(source, Buffer.concat([saying(16, 16, 1), bad, saying(16, 16, 3)]))).toBe(false);
    expect(source.packets).toEqual(['2 1 ', refusal]);
    const other = new Source();
    expect(splitter.split(other, saying(16, 16, 4))).toBe(true);
    expect(other.packets).toEqual(['2 4 ']);
  });

  it('keeps of an announced packet only what has arrived, and nothing between packets', () => {
    const splitter = splitterFor();
    const source = new Source();
    const packet = encodePacket(1000, 1, 1, new Uint8Array(MAX_BODY_BYTES));
    splitter.split(source, packet.subarray(0, 20));
    expect(source.stream?.keptBytes).toBe(20);
    splitter.split(source, packet.subarray(20));
    expect(source.stream).toBeUndefined();
  });

  it('hands out nothing more once the channel is gone, and serves the next socket', () => {
    const splitter = splitterFor((source) => {
      source.isOpen = false;
    });
    const closed = new Source();
    expect(splitter.split(closed, Buffer.concat([saying(16, 16, 1), saying(16, 16, 2)]))).toBe(true);
    expect(closed.packets).toEqual(['2 1 ']);
    const other = new Source();
    splitter.split(other, saying(16, 16, 3));
    expect(other.packets).toEqual(['2 3 ']);
  });

  it('serves the next socket after a handler has thrown', () => {
    const splitter = splitterFor(() => {
      throw new Error('boom');
    });
    const source = new Source();
    expect(() => splitter.split(source, Buffer.concat([saying(16, 16, 1), saying(16, 16, 2)]))).toThrow('boom');
    const other = new Source();
    expect(() => splitter.split(other, saying(16, 16, 3))).toThrow('boom');
    expect(other.packets).toEqual(['2 3 ']);
  });
});
