import { describe, expect, it } from 'vitest';
import { originAllowed } from './origins.js';

describe('an origin', () => {
  it('is allowed where the list is empty, and where there is none', () => {
    expect(originAllowed('https://any.example', [])).toBe(true);
    expect(originAllowed('', ['https://chat.example'])).toBe(true);
  });

  it.each([
    ['https://chat.example', ['https://chat.example'], true],
    ['https://CHAT.example', ['https://chat.example/'], true],
    ['http://chat.example', ['https://chat.example'], false],
    ['https://chat.example:8443', ['https://chat.example'], false],
    ['https://chat.example.evil', ['https://chat.example'], false],
    ['https://a.chat.example', ['https://*.chat.example'], true],
    ['https://a.b.chat.example', ['https://*.chat.example'], true],
    ['https://chat.example', ['https://*.chat.example'], false],
    ['https://evilchat.example', ['https://*.chat.example'], false],
    ['http://a.chat.example', ['https://*.chat.example'], false],
    ['http://a.chat.example:8080', ['*.chat.example'], true],
    ['https://evil.example/.chat.example', ['https://*.chat.example'], false],
    ['null', ['https://chat.example'], false],
    ['null', ['null'], true],
  ])('%s against %j: %s', (origin, allowed, expected) => {
    expect(originAllowed(origin, allowed)).toBe(expected);
  });
});
