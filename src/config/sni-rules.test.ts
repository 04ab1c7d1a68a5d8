import { describe, expect, it } from 'vitest';
import { parseSni, sniProblem } from './sni-rules.js';

describe('the entries of tls.sni', () => {
  it('are a name, a certificate and a key, the name in small letters', () => {
    const entries = ['Chat.Example.com=a.crt:a.key', '*.example.org=/etc/b=1.crt:/etc/b.key'];
    expect(sniProblem(entries)).toBeUndefined();
    expect(parseSni(entries)).toEqual([
      { serverName: 'chat.example.com', certFile: 'a.crt', keyFile: 'a.key' },
      { serverName: '*.example.org', certFile: '/etc/b=1.crt', keyFile: '/etc/b.key' },
    ]);
  });

  it.each([
    ['a.example', /entry 1 is none/],
    ['a.example=cert', /entry 1 is none/],
    ['=a:b', /entry 1 is none/],
    ['a.example=a:b:c', /entry 1 is none/],
    ['a..example=a:b', /entry 1 does not/],
    ['x.*.example=a:b', /entry 1 does not/],
    ['a b=a:b', /entry 1 does not/],
    ['ex\u00e4mple.com=a:b', /entry 1 does not/],
    [`${'a.'.repeat(127)}example=a:b`, /entry 1 does not/],
  ])('are refused where they are %j', (entry, sentence) => {
    expect(sniProblem([entry])).toMatch(sentence);
  });

  it('name a host once, whatever the size of its letters', () => {
    expect(sniProblem(['a.example=a:b', 'A.example=c:d'])).toMatch(/a\.example stands there twice/);
  });
});
