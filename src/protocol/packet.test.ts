import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GOLDEN_PACKETS, hex, toHex } from './fixtures/traffic.js';
import { encodeHeartbeatBody, HEARTBEAT_BODY_NONE, readHeartbeatBody } from './heartbeat-body.js';
import {
  encodePacket,
  FRAMING,
  type Framing,
  NO_BODY_LIMIT_BYTES,
  PARSE,
  PacketHeader,
  parseOutcomeName,
  readPacket,
  writePacketHeader,
} from './packet.js';

const { STREAM, MESSAGE, BATCH } = FRAMING;

function read(bytes: Uint8Array, framing: Framing, maxBodyBytes = 4096) {
  const header = new PacketHeader();
  return { outcome: parseOutcomeName(readPacket(bytes, 0, bytes.length, header, maxBodyBytes, framing)), header };
}

/** A header with any length fields; ver 1, op 4, seq 77 as in goim's golden reply. */
function headerWith(packetLength: string, headerLength: string): string {
  return `${packetLength} ${headerLength} 0001 00000004 0000004d`;
}

describe('a golden packet of goim', () => {
  for (const golden of GOLDEN_PACKETS) {
    it(`is read as what it is: ${golden.name}`, () => {
      const bytes = hex(golden.bytes);
      for (const framing of [STREAM, MESSAGE, BATCH]) {
        const { outcome, header } = read(bytes, framing);
        expect(outcome).toBe('OK');
        expect(header).toMatchObject({ ver: golden.ver, op: golden.op, seq: golden.seq, packetBytes: bytes.length });
        expect(toHex(bytes.subarray(header.bodyOffset, header.bodyOffset + header.bodyBytes))).toBe(golden.body);
      }
    });

    it(`is written byte for byte: ${golden.name}`, () => {
      const packet = encodePacket(golden.op, golden.seq, golden.ver, hex(golden.body));
      expect(toHex(packet)).toBe(toHex(hex(golden.bytes)));
    });
  }

  it('holds the heartbeat count as four bytes', () => {
    expect(toHex(encodeHeartbeatBody(1))).toBe('00000001');
    const reply = hex(GOLDEN_PACKETS[1]!.bytes);
    expect(readHeartbeatBody(reply, 16, 4)).toBe(1);
  });

  it('has the outer header of a room batch of three 18-byte packets', () => {
    const bytes = new Uint8Array(16);
    expect(writePacketHeader(new DataView(bytes.buffer), 0, 16 + 3 * 18, 1, 9, 0)).toBe(16);
    expect(toHex(bytes)).toBe('00000046001000010000000900000000');
  });
});

describe('readPacket on wrong lengths', () => {
  // goim, facts/goim.md 1.1: measured on both transports; BATCH is stricter because a server wrote it.
  const cases: { what: string; bytes: string; stream: string; message: string; batch: string }[] = [
    { what: 'length 0', bytes: headerWith('00000000', '0010'), stream: 'OK', message: 'OK', batch: 'BAD_LENGTH' },
    { what: 'length 15', bytes: headerWith('0000000f', '0010'), stream: 'OK', message: 'OK', batch: 'BAD_LENGTH' },
    {
      what: 'length -1',
      bytes: headerWith('ffffffff', '0010'),
      stream: 'OK',
      message: 'BAD_LENGTH',
      batch: 'BAD_LENGTH',
    },
    {
      what: 'length -2^31',
      bytes: headerWith('80000000', '0010'),
      stream: 'OK',
      message: 'BAD_LENGTH',
      batch: 'BAD_LENGTH',
    },
    {
      what: 'length 4,113',
      bytes: headerWith('00001011', '0010'),
      stream: 'TOO_LARGE',
      message: 'TOO_LARGE',
      batch: 'TOO_LARGE',
    },
    {
      what: 'length 2^31-1',
      bytes: headerWith('7fffffff', '0010'),
      stream: 'TOO_LARGE',
      message: 'TOO_LARGE',
      batch: 'TOO_LARGE',
    },
    {
      what: 'length 4,112',
      bytes: headerWith('00001010', '0010'),
      stream: 'NEED_MORE',
      message: 'BAD_LENGTH',
      batch: 'BAD_LENGTH',
    },
    {
      what: 'length 17',
      bytes: headerWith('00000011', '0010'),
      stream: 'NEED_MORE',
      message: 'BAD_LENGTH',
      batch: 'BAD_LENGTH',
    },
    {
      what: 'header length 15',
      bytes: headerWith('00000010', '000f'),
      stream: 'BAD_HEADER_LENGTH',
      message: 'BAD_HEADER_LENGTH',
      batch: 'BAD_HEADER_LENGTH',
    },
    {
      what: 'header length 0',
      bytes: headerWith('00000000', '0000'),
      stream: 'BAD_HEADER_LENGTH',
      message: 'BAD_HEADER_LENGTH',
      batch: 'BAD_HEADER_LENGTH',
    },
    {
      what: 'header length -16',
      bytes: headerWith('00000010', 'fff0'),
      stream: 'BAD_HEADER_LENGTH',
      message: 'BAD_HEADER_LENGTH',
      batch: 'BAD_HEADER_LENGTH',
    },
  ];
  for (const { what, bytes, stream, message, batch } of cases) {
    it(`answers ${what} with ${stream} on a stream, ${message} in a message, ${batch} in a batch`, () => {
      expect(read(hex(bytes), STREAM).outcome).toBe(stream);
      expect(read(hex(bytes), MESSAGE).outcome).toBe(message);
      expect(read(hex(bytes), BATCH).outcome).toBe(batch);
    });
  }

  it('takes 16 bytes and no body for an accepted length below 16', () => {
    for (const length of ['00000000', '0000000f', 'ffffffff']) {
      const { header } = read(hex(`${headerWith(length, '0010')} 6f6e65`), STREAM);
      expect(header).toMatchObject({ packetBytes: 16, bodyBytes: 0, op: 4, seq: 77 });
    }
  });

  it('awaits a short header on a stream and refuses it in a message and a batch', () => {
    for (let bytes = 0; bytes < 16; bytes++) {
      const part = hex(GOLDEN_PACKETS[0]!.bytes).subarray(0, bytes);
      expect(read(part, STREAM).outcome).toBe('NEED_MORE');
      expect(read(part, MESSAGE).outcome).toBe('BAD_LENGTH');
      expect(read(part, BATCH).outcome).toBe('BAD_LENGTH');
    }
  });

  it('names the operation of a packet it refuses', () => {
    const { outcome, header } = read(hex(headerWith('7fffffff', '0010')), STREAM);
    expect(outcome).toBe('TOO_LARGE');
    expect(header).toMatchObject({ op: 4, seq: 77, ver: 1 });
  });

  // W1: goim echoed what lay behind the message in the shared read buffer, since it believed the length field.
  it('never lets a body reach beyond the end it was given, whatever lies behind', () => {
    const bytes = hex(`${headerWith('00000020', '0010')} ${'5e'.repeat(64)}`);
    const header = new PacketHeader();
    expect(readPacket(bytes, 0, 31, header, 4096, MESSAGE)).toBe(PARSE.BAD_LENGTH);
    expect(readPacket(bytes, 0, 32, header, 4096, MESSAGE)).toBe(PARSE.OK);
    expect(header.bodyOffset + header.bodyBytes).toBe(32);
  });

  it('reads several packets of one message, one after the other', () => {
    const message = hex(GOLDEN_PACKETS.map((golden) => golden.bytes).join(''));
    const header = new PacketHeader();
    const ops: number[] = [];
    let offset = 0;
    while (offset < message.length && readPacket(message, offset, message.length, header, 4096, MESSAGE) === PARSE.OK) {
      ops.push(header.op);
      offset += header.packetBytes;
    }
    expect(ops).toEqual([8, 3, 4, 1000, 9]);
    expect(offset).toBe(message.length);
  });
});

describe('a packet', () => {
  it('comes back as it was encoded, for every ver, op, seq and body', () => {
    const int32 = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
    const int16 = fc.integer({ min: -0x8000, max: 0x7fff });
    fc.assert(
      fc.property(int32, int32, int16, fc.uint8Array({ maxLength: 300 }), (op, seq, ver, body) => {
        const { outcome, header } = read(encodePacket(op, seq, ver, body), BATCH, NO_BODY_LIMIT_BYTES);
        expect(outcome).toBe('OK');
        expect(header).toEqual({ packetBytes: 16 + body.length, ver, op, seq, bodyOffset: 16, bodyBytes: body.length });
      }),
      { numRuns: 500 },
    );
  });

  it('can be read from shared memory and at any offset', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(64));
    shared.set(hex(GOLDEN_PACKETS[3]!.bytes), 7);
    const header = new PacketHeader();
    expect(readPacket(shared, 7, 7 + 26, header, 4096, MESSAGE)).toBe(PARSE.OK);
    expect(header).toMatchObject({ op: 1000, bodyOffset: 23, bodyBytes: 10 });
  });
});

describe('a heartbeat body', () => {
  it('is a number only if it is four bytes and not negative', () => {
    expect(readHeartbeatBody(hex('0000012c'), 0, 4)).toBe(300);
    expect(readHeartbeatBody(hex('ffff 7fffffff'), 2, 4)).toBe(0x7fff_ffff);
    for (const body of ['', '00', '000000', '0000000001', 'ffffffff', '80000000']) {
      const bytes = hex(body);
      expect(readHeartbeatBody(bytes, 0, bytes.length)).toBe(HEARTBEAT_BODY_NONE);
    }
  });
});
