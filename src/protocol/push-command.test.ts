import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CODECS, encodeBody } from './codec.js';
import { hex, toHex } from './fixtures/traffic.js';
import {
  encodePushCommand,
  PUSH_LIMITS,
  type PushTarget,
  parsePushCommand,
  parsePushCommands,
} from './push-command.js';
import { encodeUtf8 } from './text.js';

function parseText(text: string) {
  return parsePushCommand(encodeUtf8(text));
}

function errorOf(text: string): string {
  const result = parseText(text);
  return result.ok ? 'accepted' : result.error;
}

describe('a push envelope', () => {
  it('in JSON goes to one room, rooms, keys, mids or all', () => {
    const body = encodeUtf8('hi');
    const cases: [string, PushTarget][] = [
      ['"room":"live://1"', { kind: 'rooms', rooms: ['live://1'] }],
      ['"rooms":["a","b"]', { kind: 'rooms', rooms: ['a', 'b'] }],
      ['"keys":["k1","k1"]', { kind: 'keys', keys: ['k1', 'k1'] }],
      ['"mids":[7,9007199254740991]', { kind: 'mids', mids: [7, 9007199254740991] }],
      ['"mids":["7","9007199254740991"]', { kind: 'mids', mids: [7, 9007199254740991] }],
      ['"all":true', { kind: 'all' }],
    ];
    for (const [member, target] of cases) {
      expect(parseText(`{${member},"op":1000,"body":"hi"}`)).toEqual({
        ok: true,
        value: { target, op: 1000, body, speed: 0 },
      });
    }
  });

  it('in MessagePack may carry bytes, and 64-bit encodings of mids', () => {
    // {"mids": [uint64 7], "op": int32 -5, "body": bin ff00}
    const bytes = hex('83 a46d696473 91cf0000000000000007 a26f70 d2fffffffb a4626f6479 c402ff00');
    expect(parsePushCommand(bytes)).toEqual({
      ok: true,
      value: { target: { kind: 'mids', mids: [7] }, op: -5, body: hex('ff00'), speed: 0 },
    });
  });

  it('may carry its body in base64, may be empty, and may have members that are null', () => {
    const bodyOf = (text: string) => {
      const result = parseText(text);
      return result.ok ? toHex(result.value.body) : result.error;
    };
    expect(bodyOf('{"all":true,"op":1,"body_base64":"AAECf/8="}')).toBe('0001027fff');
    expect(bodyOf('{"all":true,"op":1,"body_base64":""}')).toBe('');
    expect(bodyOf('{"all":true,"op":1,"body":""}')).toBe('');
    expect(bodyOf(' \n{"room":null,"all":true,"op":1,"body":"房","body_base64":null,"speed":null}')).toBe('e688bf');
  });

  it('may limit the speed of a push to all, and of nothing else', () => {
    expect(parseText('{"all":true,"op":1,"body":"","speed":5000}')).toMatchObject({ ok: true, value: { speed: 5000 } });
    expect(parseText('{"room":"r","op":1,"body":"","speed":0}').ok).toBe(true);
    expect(errorOf('{"room":"r","op":1,"body":"","speed":1}')).toBe('speed goes with all only: target=rooms');
  });

  const wrong: [string, RegExp][] = [
    ['{"op":1,"body":""}', /^target must be exactly one of room, rooms, keys, mids, all: given=none$/],
    ['{"room":"r","all":true,"op":1,"body":""}', /^target must be exactly one of .*: given=room,all$/],
    ['{"all":false,"op":1,"body":""}', /^all must be true: all=false$/],
    ['{"all":1,"op":1,"body":""}', /^all must be true or false: all=1$/],
    ['{"room":"","op":1,"body":""}', /^room must be a non-empty string: room=""$/],
    ['{"room":["r"],"op":1,"body":""}', /^room must be a non-empty string: room=an array of 1$/],
    ['{"rooms":[],"op":1,"body":""}', /^rooms must hold at least one element$/],
    ['{"rooms":["a","b\\u0000"],"op":1,"body":""}', /^rooms\[1\] must not hold control characters/],
    ['{"keys":"k","op":1,"body":""}', /^keys must be an array of at most 1000: keys="k"$/],
    ['{"keys":["k",5],"op":1,"body":""}', /^keys\[1\] must be a non-empty string: keys\[1\]=5$/],
    [
      `{"keys":${JSON.stringify(Array(1001).fill('k'))},"op":1,"body":""}`,
      /^keys must be an array of at most 1000: keys=an array of 1001$/,
    ],
    ['{"mids":[1,0],"op":1,"body":""}', /^mids\[1\] must be an integer from 1 to 9007199254740991: mids\[1\]=0$/],
    ['{"mids":[-1],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"mids":[1.5],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"mids":["01"],"op":1,"body":""}', /^mids\[0\] must be .*: mids\[0\]="01"$/],
    ['{"mids":["-1"],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"mids":["1e3"],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"mids":["9007199254740993"],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"mids":[9007199254740993],"op":1,"body":""}', /^mids\[0\] must be/],
    ['{"all":true,"body":""}', /^op must be an integer from -2147483648 to 2147483647: op=nothing$/],
    ['{"all":true,"op":0,"body":""}', /^op must not be 0: op=0$/],
    ['{"all":true,"op":2147483648,"body":""}', /^op must be an integer/],
    ['{"all":true,"op":"1000","body":""}', /^op must be an integer .*: op="1000"$/],
    ['{"all":true,"op":1}', /^body or body_base64 must be given, and only one of them$/],
    ['{"all":true,"op":1,"body":"a","body_base64":"AA=="}', /^body or body_base64 must be given, and only one/],
    [
      '{"all":true,"op":1,"body":{"a":1}}',
      /^body must be a well-formed string, or bin in MessagePack: body=an object$/,
    ],
    ['{"all":true,"op":1,"body":"\\ud800"}', /^body must be a well-formed string/],
    [
      '{"all":true,"op":1,"body_base64":"AA"}',
      /^body_base64 must be base64, standard alphabet, padded: body_base64="AA"$/,
    ],
    ['{"all":true,"op":1,"body_base64":"A-_="}', /^body_base64 must be base64/],
    ['{"all":true,"op":1,"body_base64":"A A="}', /^body_base64 must be base64/],
    ['{"all":true,"op":1,"body_base64":"A==="}', /^body_base64 must be base64/],
    ['{"all":true,"op":1,"body":"","speed":-1}', /^speed must be an integer from 0 to 2147483647: speed=-1$/],
    [
      '{"all":true,"op":1,"body":"","sped":10}',
      /^"sped" is no member of a push: members=room,rooms,keys,mids,all,op,body,body_base64,speed$/,
    ],
    ['[]', /^the body must be an object/],
    ['', /^the body is not JSON/],
    ['hello', /^the body is not JSON/],
  ];
  for (const [text, error] of wrong) {
    it(`is refused with the field that is wrong: ${text.slice(0, 60)}`, () => {
      expect(errorOf(text)).toMatch(error);
    });
  }

  it('is refused above its bounds', () => {
    const limits = { ...PUSH_LIMITS, maxBodyBytes: 3, maxEnvelopeBytes: 60 };
    const parse = (text: string) => parsePushCommand(encodeUtf8(text), limits);
    expect(parse('{"all":true,"op":1,"body":"abc"}').ok).toBe(true);
    expect(parse('{"all":true,"op":1,"body":"éé"}')).toEqual({
      ok: false,
      error: 'body must be at most 3 bytes: bytes=4',
    });
    expect(parse(`{"all":true,"op":1,"body":"${'a'.repeat(60)}"}`)).toMatchObject({
      error: expect.stringContaining('a body must be at most 60 bytes'),
    });
  });

  it.each(CODECS)('comes back as it was encoded in %s', (codec) => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 10 });
    const target: fc.Arbitrary<PushTarget> = fc.oneof(
      fc.record({ kind: fc.constant('rooms' as const), rooms: fc.array(name, { minLength: 1, maxLength: 4 }) }),
      fc.record({ kind: fc.constant('keys' as const), keys: fc.array(name, { minLength: 1, maxLength: 4 }) }),
      fc.record({
        kind: fc.constant('mids' as const),
        mids: fc.array(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), { minLength: 1, maxLength: 4 }),
      }),
      fc.record({ kind: fc.constant('all' as const) }),
    );
    const op = fc.integer().filter((value) => value !== 0);
    fc.assert(
      fc.property(target, op, fc.uint8Array({ maxLength: 100 }), fc.nat(), (to, operation, body, speed) => {
        const command = { target: to, op: operation, body, speed: to.kind === 'all' ? speed : 0 };
        expect(parsePushCommand(encodePushCommand(codec, command))).toEqual({ ok: true, value: command });
      }),
      { numRuns: 300 },
    );
  });
});

describe('a list of push envelopes', () => {
  it.each(CODECS)('is parsed in order, all or nothing, in %s', (codec) => {
    const good = { room: 'r', op: 1000, body: 'a' };
    const parse = (value: unknown, maxCommandsCount = 3) =>
      parsePushCommands(encodeBody(codec, value), { ...PUSH_LIMITS, maxCommandsCount });
    const result = parse([good, { ...good, op: 1001 }]);
    expect(result.ok && result.value.map(({ op }) => op)).toEqual([1000, 1001]);
    expect(parse([])).toEqual({ ok: true, value: [] });
    expect(parse([good, { ...good, op: 0 }])).toEqual({ ok: false, error: '[1].op must not be 0: [1].op=0' });
    expect(parse([good, 5])).toEqual({ ok: false, error: '[1] must be an object: [1]=5' });
    expect(parse([good, { ...good, all: true }])).toMatchObject({
      error: expect.stringMatching(/^\[1\]\.target must be/),
    });
    expect(parse([good, good], 1)).toEqual({ ok: false, error: 'the body must hold at most 1 pushes: count=2' });
    expect(parse({ commands: [] })).toEqual({
      ok: false,
      error: 'the body must be an array of pushes: body=an object',
    });
  });
});
