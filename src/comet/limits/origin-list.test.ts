import { describe, expect, it } from 'vitest';
import { OriginList } from './origin-list.js';

describe('the list of origins', () => {
  it.each([
    ['an empty list', [], 'https://anything.test', true],
    ['*', ['*'], 'null', true],
    ['an origin', ['https://example.com'], 'https://example.com', true],
    ['an origin, in other letters', ['https://Example.com'], 'https://eXample.com', true],
    ['an origin and another scheme', ['https://example.com'], 'http://example.com', false],
    ['an origin and another port', ['https://example.com'], 'https://example.com:8443', false],
    ['an origin with a port', ['https://example.com:8443'], 'https://example.com:8443', true],
    ["an origin with the scheme's own port", ['https://example.com:443'], 'https://example.com', true],
    ['an origin and a longer name', ['https://example.com'], 'https://example.com.evil.test', false],
    ['a host without a scheme', ['localhost:5173'], 'http://localhost:5173', true],
    ['an IPv6 host', ['http://[::1]:80'], 'http://[::1]', true],
    ['a wildcard', ['https://*.example.com'], 'https://a.b.example.com', true],
    ['a wildcard and the name itself', ['https://*.example.com'], 'https://example.com', false],
    ['a wildcard and an empty label', ['https://*.example.com'], 'https://.example.com', false],
    ['a wildcard and a name that only ends so', ['https://*.example.com'], 'https://badexample.com', false],
    ['a wildcard and a port', ['https://*.example.com'], 'https://a.example.com:8443', false],
    ['a wildcard with a port', ['*.example.com:8443'], 'https://a.example.com:8443', true],
    ['null, where nobody names it', ['https://example.com'], 'null', false],
    ['null, where it is named', ['null'], 'null', true],
    ['no origin at all', ['https://example.com'], '', true],
  ])('%s', (_, entries, origin, expected) => {
    expect(new OriginList(entries).allows(origin)).toBe(expected);
  });

  it.each(['', 'ftp://example.com', 'https://example.com/', 'https://a.*.com', '**', 'https://', 'a b'])(
    'refuses the entry %j',
    (entry) => {
      expect(() => new OriginList(['https://example.com', entry])).toThrow(
        expect.objectContaining({ code: 'ORIGIN_INVALID', details: { item: 2, entry } }),
      );
    },
  );
});
