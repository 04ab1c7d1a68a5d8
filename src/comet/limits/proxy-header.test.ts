import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_HEADER_BYTES, ProxyHeader, type ProxyHeaderResult } from './proxy-header.js';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const ascii = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
const V4_ADDRESSES = 'cb007105 0a000001 d903 0c1e';
const V6_ADDRESSES = `20010db8000200000000000000000005 20010db8000100000000000000000001 d903 0c1e`;

const GOOD: readonly (readonly [name: string, header: Uint8Array, address: string | undefined])[] = [
  ['v2 over IPv4', hex(`${SIGNATURE} 21 11 000c ${V4_ADDRESSES}`), '203.0.113.5'],
  ['v2 over IPv6', hex(`${SIGNATURE} 21 21 0024 ${V6_ADDRESSES}`), '2001:0db8:0002:0000:0000:0000:0000:0005'],
  ['v2 with TLVs', hex(`${SIGNATURE} 21 11 0013 ${V4_ADDRESSES} 04 0004 00000000`), '203.0.113.5'],
  ['v2 LOCAL', hex(`${SIGNATURE} 20 00 0000`), undefined],
  ['v2 LOCAL with addresses, which count for nothing', hex(`${SIGNATURE} 20 11 000c ${V4_ADDRESSES}`), undefined],
  ['v2 of an unspecified family', hex(`${SIGNATURE} 21 00 0003 010203`), undefined],
  ['v2 over a Unix socket', hex(`${SIGNATURE} 21 31 00d8 ${'61'.repeat(216)}`), undefined],
  ['v2 as large as may be', hex(`${SIGNATURE} 21 11 0ff0 ${V4_ADDRESSES} ${'00'.repeat(0xff0 - 12)}`), '203.0.113.5'],
  ['v1 over IPv4', ascii('PROXY TCP4 203.0.113.5 10.0.0.1 55555 3102\r\n'), '203.0.113.5'],
  ['v1 over IPv6', ascii('PROXY TCP6 2001:db8::5 ::1 55555 3102\r\n'), '2001:db8::5'],
  ['v1 UNKNOWN', ascii('PROXY UNKNOWN\r\n'), undefined],
  ['v1 UNKNOWN with more', ascii('PROXY UNKNOWN ffff:: ffff:: 1 2\r\n'), undefined],
];

const BAD: readonly (readonly [name: string, bytes: Uint8Array, reason: RegExp])[] = [
  ['another protocol', ascii('GET /sub HTTP/1.1\r\n'), /does not begin/],
  ['a packet without a header', hex('00000010 0010 0001 00000007 00000001'), /does not begin/],
  ['one wrong byte of the signature', hex('0d0a0d0a000d0a515549540b 21 11 000c'), /does not begin/],
  ['version 3', hex(`${SIGNATURE} 31 11 000c ${V4_ADDRESSES}`), /version=3/],
  ['an unknown command', hex(`${SIGNATURE} 22 11 000c ${V4_ADDRESSES}`), /command=2/],
  ['an unknown family', hex(`${SIGNATURE} 21 41 000c ${V4_ADDRESSES}`), /family=4/],
  ['a datagram', hex(`${SIGNATURE} 21 12 000c ${V4_ADDRESSES}`), /transport=2/],
  ['too few bytes for the addresses', hex(`${SIGNATURE} 21 21 000c ${V4_ADDRESSES}`), /36 bytes: bytes=12/],
  ['more bytes than are kept', hex(`${SIGNATURE} 21 11 0ff1`), /at most 4096 bytes: bytes=4097/],
  ['a line without an end', ascii(`PROXY TCP4 ${'1'.repeat(200)}`), /at most 107 bytes/],
  ['a line that ends in LF only', ascii('PROXY TCP4 203.0.113.5 10.0.0.1 1 2\n'), /version 1/],
  ['an address of the other family', ascii('PROXY TCP4 ::1 ::1 1 2\r\n'), /version 1/],
  ['no address', ascii('PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n'), /version 1/],
  ['a port above 65535', ascii('PROXY TCP4 203.0.113.5 10.0.0.1 65536 2\r\n'), /version 1/],
  ['a lower-case name', ascii('proxy TCP4 203.0.113.5 10.0.0.1 1 2\r\n'), /does not begin/],
];

/** Feed all chunks; the last answer, and everything that came out as rest. */
function feedAll(chunks: readonly Uint8Array[]): { result: ProxyHeaderResult; rest: Buffer } {
  const header = new ProxyHeader();
  const rest: Uint8Array[] = [];
  let result: ProxyHeaderResult = { status: 'more' };
  for (const chunk of chunks) {
    result = header.feed(chunk);
    if (result.status === 'done') rest.push(result.rest);
  }
  return { result, rest: Buffer.concat(rest) };
}

/** `bytes` cut at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ordered = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return ordered.slice(1).map((end, index) => bytes.subarray(ordered[index], end));
}

describe('a PROXY protocol header', () => {
  it.each(GOOD)('%s is read, and what follows is handed on', (_, header, address) => {
    const { result, rest } = feedAll([new Uint8Array([...header, 1, 2, 3]), Uint8Array.of(4)]);
    expect([result.status, result.status === 'done' ? result.address : 'none', [...rest]]).toEqual([
      'done',
      address,
      [1, 2, 3, 4],
    ]);
  });

  it.each(GOOD)('%s is the same split at every byte', (_, header, address) => {
    const bytes = new Uint8Array([...header, 9, 8]);
    for (let place = 0; place <= bytes.length; place++) {
      const { result, rest } = feedAll(cut(bytes, [place]));
      expect([result.status === 'done' && result.address, [...rest]]).toEqual([address, [9, 8]]);
    }
  });

  it.each(BAD)('%s is refused, however it is split', (_, bytes, reason) => {
    for (const chunks of [[bytes], [...bytes].map((byte) => Uint8Array.of(byte))]) {
      const { result } = feedAll(chunks);
      expect(result).toEqual({ status: 'malformed', reason: expect.stringMatching(reason) });
    }
  });

  it('is refused at the first byte that cannot be one', () => {
    expect(new ProxyHeader().feed(ascii('G')).status).toBe('malformed');
    expect(new ProxyHeader().feed(ascii('P')).status).toBe('more');
    expect(new ProxyHeader().feed(new Uint8Array(0)).status).toBe('more');
  });

  it('of any bytes gives an answer that no splitting changes, and never waits beyond its bound', () => {
    const starts = [...GOOD.map(([, header]) => header), ...BAD.map(([, bytes]) => bytes), new Uint8Array(0)];
    const places = fc.array(fc.nat(9000), { maxLength: 12 });
    const flips = fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 3 });
    fc.assert(
      fc.property(
        fc.constantFrom(...starts),
        flips,
        fc.uint8Array({ maxLength: 300 }),
        places,
        (start, changes, tail, cuts) => {
          const bytes = new Uint8Array([...start, ...tail]);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const whole = feedAll([bytes]);
          const split = feedAll(cut(bytes, cuts));
          expect(split.result.status).toBe(whole.result.status);
          expect(split.rest).toEqual(whole.rest);
          if (whole.result.status === 'done' && split.result.status === 'done') {
            expect(split.result.address).toBe(whole.result.address);
          }
          const after = feedAll([bytes, new Uint8Array(MAX_HEADER_BYTES)]);
          expect(after.result.status).not.toBe('more');
        },
      ),
      { numRuns: 500 },
    );
  });
});
