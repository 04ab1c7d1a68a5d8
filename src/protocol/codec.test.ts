import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CODECS, decodeBody, encodeBody } from './codec.js';
import { hex, toHex } from './fixtures/traffic.js';
import { BODY_DEPTH_LIMIT } from './msgpack-bounds.js';
import { encodeUtf8 } from './text.js';

function errorOf(codec: 'json' | 'msgpack', bytes: Uint8Array): string {
  const result = decodeBody(codec, bytes);
  return result.ok ? 'accepted' : result.error;
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

describe.each(CODECS)('a body in %s', (codec) => {
  it('comes back as it was encoded', () => {
    const name = fc.string({ unit: 'binary' }).filter((text) => text !== '__proto__');
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom(null, true, false),
        fc.integer(),
        fc.maxSafeInteger().map((integer) => integer + 0),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((double) => double + 0),
        fc.string({ unit: 'binary' }),
        fc.array(tie('value'), { maxLength: 5 }),
        fc.dictionary(name, tie('value'), { maxKeys: 5, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (body) => {
        expect(decodeBody(codec, encodeBody(codec, body))).toEqual({ ok: true, value: body });
      }),
      { numRuns: 500 },
    );
  });

  it('is a buffer of its own, which later bodies do not change', () => {
    const first = encodeBody(codec, { a: 1 });
    const before = toHex(first);
    expect(Object.getPrototypeOf(first)).toBe(Uint8Array.prototype);
    expect(first.buffer.byteLength).toBe(first.length);
    for (let count = 0; count < 100; count++) encodeBody(codec, { b: 'x'.repeat(count) });
    expect(toHex(first)).toBe(before);
  });

  it('leaves a member out, or empty, that is undefined', () => {
    const body = decodeBody(codec, encodeBody(codec, { a: 1, b: undefined }));
    expect(body.ok && (body.value as { b?: unknown }).b == null).toBe(true);
  });

  it('may be nested to the limit and not beyond', () => {
    expect(errorOf(codec, encodeBody(codec, nested(BODY_DEPTH_LIMIT)))).toBe('accepted');
    expect(errorOf(codec, encodeBody(codec, nested(BODY_DEPTH_LIMIT + 1)))).toMatch(/nested deeper than 32 levels$/);
  });

  it('is refused above its bound before it is looked at', () => {
    const body = encodeBody(codec, 'x'.repeat(100));
    expect(decodeBody(codec, body, body.length).ok).toBe(true);
    expect(decodeBody(codec, body, body.length - 1)).toEqual({
      ok: false,
      error: `a body must be at most ${body.length - 1} bytes: bytes=${body.length}`,
    });
  });

  it('is refused where it is cut, at every byte', () => {
    const body = encodeBody(codec, {
      text: 'text',
      list: [1, 300, 70_000, 2 ** 40, -1, 1.5, null, true],
      inner: { a: 'é' },
    });
    for (let cut = 0; cut < body.length; cut++)
      expect(decodeBody(codec, body.slice(0, cut)).ok, `cut at ${cut}`).toBe(false);
  });

  it('is decoded from the middle of a larger buffer without touching it', () => {
    const body = encodeBody(codec, { a: [1, 'b'] });
    const around = new Uint8Array(body.length + 20).fill(0xc1);
    around.set(body, 10);
    const view = around.subarray(10, 10 + body.length);
    expect(decodeBody(codec, view)).toEqual({ ok: true, value: { a: [1, 'b'] } });
    expect(Object.keys(view).length).toBe(body.length);
  });
});

describe('a JSON body', () => {
  it('does not count brackets inside strings as depth', () => {
    expect(errorOf('json', encodeUtf8(JSON.stringify(`${'['.repeat(100)}\\"${'{'.repeat(100)}`)))).toBe('accepted');
  });

  it('says on one line what is wrong with it', () => {
    expect(errorOf('json', encodeUtf8('{"a":\n\n x}'))).toMatch(/^the body is not JSON: [^\n]+$/);
    expect(errorOf('json', hex('22ff22'))).toBe('a JSON body must be UTF-8');
  });
});

describe('a MessagePack body', () => {
  it('is what other implementations write: no extensions, the shortest forms', () => {
    expect(toHex(encodeBody('msgpack', { a: 1, b: [true, null], c: 'x' }))).toBe('83a16101a16292c3c0a163a178');
    expect(toHex(encodeBody('msgpack', { a: hex('0102') }))).toBe('81a161c4020102');
  });

  it('may hold bytes, which are copied out of it', () => {
    const body = hex('c4020102');
    const result = decodeBody('msgpack', body);
    if (!result.ok) throw new Error(result.error);
    body.fill(9);
    expect(result.value).toEqual(hex('0102'));
  });

  it('may hold every form of integer, 64-bit ones as numbers up to 2^53 and as bigint beyond', () => {
    const values = [
      'cc05',
      'cd0005',
      'ce00000005',
      'cf0000000000000005',
      'd005',
      'd10005',
      'd200000005',
      'd30000000000000005',
    ];
    for (const value of values) expect(decodeBody('msgpack', hex(value)), value).toEqual({ ok: true, value: 5 });
    expect(decodeBody('msgpack', hex('cf001fffffffffffff'))).toEqual({ ok: true, value: Number.MAX_SAFE_INTEGER });
    expect(decodeBody('msgpack', hex('cf0020000000000001'))).toEqual({ ok: true, value: 2n ** 53n + 1n });
    expect(decodeBody('msgpack', hex('d3ffffffffffffffff'))).toEqual({ ok: true, value: -1 });
  });

  const hostile: [string, string, RegExp][] = [
    ['an array of 2^32-1 in five bytes', 'ddffffffff', /a container announces more than is there: offset=0$/],
    ['a map of 2^32-1 in five bytes', 'dfffffffff', /a container announces more/],
    ['a string longer than the body', 'dbffffffff61', /it ends inside a value: bytes=6$/],
    ['a length that is cut', 'da00', /it ends inside a length: bytes=2$/],
    ['nothing', '', /it ends inside a value: bytes=0$/],
    ['two values', '0102', /1 bytes stand behind the value$/],
    ['the byte that is never used', 'c1', /only plain data is allowed, no extensions: offset=0$/],
    ['a record definition, which would compile code', 'd4724091a16101', /no extensions/],
    ['a regular expression', 'c7007892a161a167', /no extensions/],
    ['a timestamp', 'd6ff00000000', /no extensions/],
    ['a map whose key is a number', '8101a161', /a map key must be a string: offset=1$/],
    ['a map whose second key is an array', '82a161019001', /a map key must be a string: offset=4$/],
    ['5,000 arrays in one another', '91'.repeat(5000), /nested deeper than 32 levels$/],
  ];
  for (const [what, bytes, error] of hostile) {
    it(`is refused if it is ${what}`, () => {
      expect(errorOf('msgpack', hex(bytes))).toMatch(error);
    });
  }

  it('cannot set the prototype of what is decoded', () => {
    const result = decodeBody('msgpack', hex('81a95f5f70726f746f5f5f81a161 01'));
    expect(result.ok && Object.getPrototypeOf(result.value)).toBe(Object.prototype);
  });
});
