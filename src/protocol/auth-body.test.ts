import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AUTH_LIMITS, type AuthBody, encodeAuthBody, parseAuthBody } from './auth-body.js';
import { concat, hex } from './fixtures/traffic.js';
import { encodeUtf8 } from './text.js';

const NOTHING: AuthBody = {
  mid: 0,
  key: '',
  roomId: '',
  platform: '',
  accepts: [],
  codec: 'json',
  extended: false,
  rooms: [],
};

function parse(text: string): AuthBody | string {
  const result = parseAuthBody(encodeUtf8(text));
  return result.ok ? result.value : result.error;
}

/** What is refused, and the sentence that says so. */
function errorOf(text: string): string {
  const result = parse(text);
  return typeof result === 'string' ? result : `accepted ${JSON.stringify(result)}`;
}

describe('an auth body of goim', () => {
  it('is read with all its members', () => {
    // The body that goim's examples/javascript/client.js sends.
    expect(parse('{"mid":123, "room_id":"live://1000", "platform":"web", "accepts":[1000,1001,1002]}')).toEqual({
      ...NOTHING,
      mid: 123,
      roomId: 'live://1000',
      platform: 'web',
      accepts: [1000, 1001, 1002],
    });
    expect(parse('\n{ "key" : "3c4d-..." , "accepts" : [ ] }\t')).toEqual({ ...NOTHING, key: '3c4d-...' });
  });

  it('may leave out every member, be null, or have members that are null', () => {
    for (const text of [
      '{}',
      'null',
      ' null ',
      '{"mid":null,"key":null,"room_id":null,"platform":null,"accepts":null}',
      '{"token":null,"codec":null,"halley":null,"rooms":null,"heartbeat_s":null}',
    ]) {
      expect(parse(text), text).toEqual(NOTHING);
    }
  });

  it('matches member names without regard to case, as Go folds letters', () => {
    expect(parse('{"MID":7,"Key":"k","rOOM_id":"r","PLATFORM":"p","Accepts":[1]}')).toEqual({
      ...NOTHING,
      mid: 7,
      key: 'k',
      roomId: 'r',
      platform: 'p',
      accepts: [1],
    });
    // U+212A (Kelvin sign) and U+017F (long s) are the two letters outside ASCII that fold into it.
    expect(parse('{"\u212aey":"k","accept\u017f":[2],"m\u0131d":9}')).toEqual({ ...NOTHING, key: 'k', accepts: [2] });
    expect(parse('{"\\u006did":8}')).toEqual({ ...NOTHING, mid: 8 });
  });

  it('may hold members that are unknown, of any shape', () => {
    expect(parse('{"x":{"mid":[1,"}",{"a":"\\"]"}]},"y":[[],{}],"mid":5,"":1.5e3,"roomid":3}')).toEqual({
      ...NOTHING,
      mid: 5,
    });
  });

  it('may repeat a member: the last wins, and null changes nothing but empties a list', () => {
    expect(parse('{"mid":1,"MID":2,"mid":3,"key":"a","key":"b"}')).toEqual({ ...NOTHING, mid: 3, key: 'b' });
    expect(parse('{"mid":1,"MID":2}')).toEqual({ ...NOTHING, mid: 2 });
    expect(parse('{"mid":1,"mid":null,"accepts":[1],"accepts":null}')).toEqual({ ...NOTHING, mid: 1 });
    expect(errorOf('{"mid":"1","mid":1}')).toMatch(/^mid must be/);
  });

  it('is refused unless it is JSON and an object', () => {
    expect(errorOf('')).toBe('the auth body must be a JSON object: bytes=0');
    for (const text of ['[]', '"mid"', '12', 'true']) {
      expect(errorOf(text), text).toMatch(/^the auth body must be a JSON object: body=/);
    }
    for (const text of [
      ' ',
      '{',
      '{"mid":1',
      '{"mid":01}',
      '{mid:1}',
      '{"mid":1,}',
      "{'mid':1}",
      '{"mid":1}x',
      '\ufeff{}',
    ]) {
      expect(errorOf(text), text).toMatch(/^the body is not JSON: /);
    }
    expect(parseAuthBody(hex('1e7b7d')).ok).toBe(false);
  });

  it('needs integers written as integers', () => {
    const bound = `an integer from ${Number.MIN_SAFE_INTEGER} to ${Number.MAX_SAFE_INTEGER}`;
    for (const mid of ['1.0', '1.5', '1e3', '1E0', '"1"', 'true', '[1]', '{"a":1}']) {
      expect(errorOf(`{"mid":${mid}}`), mid).toBe(`mid must be ${bound}: mid=${mid}`);
    }
    expect(parse('{"mid":-0}')).toEqual(NOTHING);
    expect(Object.is((parse('{"mid":-0}') as AuthBody).mid, 0)).toBe(true);
    expect(parse('{"mid":-5}')).toEqual({ ...NOTHING, mid: -5 });
  });

  it('is refused, not rounded, where mid is beyond 2^53-1', () => {
    expect(parse('{"mid":9007199254740991}')).toEqual({ ...NOTHING, mid: 9007199254740991 });
    expect(parse('{"mid":-9007199254740991}')).toEqual({ ...NOTHING, mid: -9007199254740991 });
    for (const mid of [
      '9007199254740992',
      '9007199254740993',
      '9223372036854775807',
      '-9007199254740993',
      '1'.repeat(400),
    ]) {
      expect(errorOf(`{"mid":${mid}}`), mid).toMatch(
        /^mid must be an integer from -9007199254740991 to 9007199254740991: /,
      );
    }
  });

  it('needs strings for key, room_id and platform', () => {
    for (const name of ['key', 'room_id', 'platform']) {
      for (const value of ['1', 'true', '["a"]', '{}']) {
        expect(errorOf(`{"${name}":${value}}`)).toBe(`${name} must be a string: ${name}=${value}`);
      }
    }
  });

  it('needs an array of 32-bit integers for accepts', () => {
    expect(parse('{"accepts":[ 2147483647 , -2147483648,-0 ,null]}')).toEqual({
      ...NOTHING,
      accepts: [2147483647, -2147483648, 0, 0],
    });
    for (const element of ['2147483648', '-2147483649', '1.0', '1e3', 'true']) {
      expect(errorOf(`{"accepts":[1,${element}]}`), element).toBe(
        `accepts[1] must be a 32-bit integer: accepts[1]=${element}`,
      );
    }
    for (const value of ['"1000"', '1000', '["1000"]', '[[1000]]', '[{}]', '[1,[]]', '{}']) {
      expect(errorOf(`{"accepts":${value}}`), value).toBe(
        `accepts must be an array of 32-bit integers: accepts=${value}`,
      );
    }
    const tooMany = Array(AUTH_LIMITS.maxAcceptsCount + 1).fill(1);
    expect(errorOf(JSON.stringify({ accepts: tooMany }))).toBe('accepts must hold at most 1024 operations: count=1025');
  });

  it('turns malformed UTF-8 and lone surrogates in strings into U+FFFD, as Go does', () => {
    const platform = (body: Uint8Array) => {
      const result = parseAuthBody(body);
      return result.ok ? result.value.platform : result.error;
    };
    const quoted = (inner: Uint8Array) => concat(encodeUtf8('{"platform":"'), inner, encodeUtf8('"}'));
    expect(platform(quoted(hex('61ff62')))).toBe('a\ufffdb');
    expect(platform(quoted(encodeUtf8('a\\ud800b')))).toBe('a\ufffdb');
    expect(platform(quoted(encodeUtf8('\\ud83d\\ude00')))).toBe('\u{1f600}');
  });

  it('is refused where key or room_id is too long or holds control characters', () => {
    expect(errorOf(`{"key":"${'k'.repeat(257)}"}`)).toBe('key must be at most 256 bytes of UTF-8: bytes=257');
    expect(errorOf(`{"room_id":"${'中'.repeat(86)}"}`)).toBe('room_id must be at most 256 bytes of UTF-8: bytes=258');
    expect(errorOf('{"room_id":"a\\u0000b"}')).toBe('room_id must not hold control characters: room_id="a\\u0000b"');
    expect(parse('{"room_id":"plain"}')).toEqual({ ...NOTHING, roomId: 'plain' });
  });
});

describe('Halley’s members of an auth body', () => {
  it('are read on an extended channel', () => {
    expect(parse('{"halley":1,"codec":"msgpack","token":"t","rooms":["a://1","b"],"heartbeat_s":30,"mid":4}')).toEqual({
      ...NOTHING,
      mid: 4,
      extended: true,
      codec: 'msgpack',
      token: 't',
      rooms: ['a://1', 'b'],
      heartbeatS: 30,
    });
    expect(parse('{"halley":0,"codec":"\\u006ason"}')).toEqual(NOTHING);
  });

  const wrong: [string, RegExp][] = [
    ['"codec":"xml"', /^codec must be "json" or "msgpack": codec="xml"$/],
    ['"codec":1', /^codec must be/],
    ['"token":5', /^token must be a string: token=5$/],
    ['"rooms":"a"', /^rooms must be an array of strings: rooms="a"$/],
    ['"rooms":["a",1]', /^rooms\[1\] must be a non-empty string: rooms\[1\]=1$/],
    ['"rooms":[""]', /^rooms\[0\] must be a non-empty string: rooms\[0\]=""$/],
    ['"rooms":["a\\n"]', /^rooms\[0\] must not hold control characters/],
    ['"rooms":["\\ud800"]', /^rooms\[0\] must be well-formed Unicode/],
    [`"rooms":${JSON.stringify(Array(129).fill('r'))}`, /^rooms must hold at most 128 room ids: count=129$/],
    ['"heartbeat_s":0', /^heartbeat_s must be an integer from 1 to 2147483647: heartbeat_s=0$/],
    ['"heartbeat_s":1.5', /^heartbeat_s must be/],
  ];
  for (const [member, error] of wrong) {
    it(`are refused on an extended channel and ignored, as by goim, on a plain one: ${member.slice(0, 30)}`, () => {
      expect(errorOf(`{${member},"halley":1}`)).toMatch(error);
      expect(parse(`{${member}}`)).toEqual(NOTHING);
    });
  }

  it('begin with a version that is 0 or 1', () => {
    for (const halley of ['2', '-1', 'true', '"1"', '1.0']) {
      expect(errorOf(`{"halley":${halley}}`)).toBe(`halley must be an integer from 0 to 1: halley=${halley}`);
    }
  });
});

describe('encodeAuthBody', () => {
  it('writes what parseAuthBody reads back', () => {
    const name = fc.string({ unit: 'grapheme', maxLength: 20 });
    const body = fc.record(
      {
        mid: fc.maxSafeInteger(),
        key: name,
        roomId: name,
        platform: fc.string({ unit: 'binary' }),
        accepts: fc.array(fc.integer(), { maxLength: 20 }),
        token: fc.string({ unit: 'binary' }),
        codec: fc.constantFrom('json' as const, 'msgpack' as const),
        extended: fc.boolean(),
        rooms: fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), { maxLength: 5 }),
        heartbeatS: fc.integer({ min: 1 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(body, (auth) => {
        const result = parseAuthBody(encodeAuthBody(auth));
        expect(result).toEqual({ ok: true, value: { ...NOTHING, ...auth, mid: (auth.mid ?? 0) + 0 } });
      }),
      { numRuns: 500 },
    );
  });

  it('throws for a mid that would reach the server as another', () => {
    expect(() => encodeAuthBody({ mid: 2 ** 53 })).toThrow('mid=9007199254740992');
    expect(() => encodeAuthBody({ mid: 0.5 })).toThrow('mid=0.5');
  });
});
