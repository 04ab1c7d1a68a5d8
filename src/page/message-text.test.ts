import { expect, test } from 'vitest';
import { bodyLine } from './message-text.js';

const line = (text: string): string => bodyLine(new TextEncoder().encode(text));

test('JSON is one line with a space where one helps', () => {
  expect(line('{"a":1,\n  "b" : [1,2],"c":{"d":"x:y,  z"}}')).toBe('{"a": 1, "b": [1, 2], "c": {"d": "x:y,  z"}}');
});

test('a number that JavaScript would round, and an escape, stand as they were sent', () => {
  expect(line('{"id":9007199254740993,"t":"a\\"b\\\\"}')).toBe('{"id": 9007199254740993, "t": "a\\"b\\\\"}');
});

test('text that only looks like JSON, and any other text, stays as it is on one line', () => {
  expect(line('{not json')).toBe('{not json');
  expect(line('two\nlines\tand a tab')).toBe('two lines and a tab');
  expect(line('')).toBe('');
  expect(line('42')).toBe('42');
});

test('bytes that are no text are hexadecimal with their number', () => {
  expect(bodyLine(Uint8Array.of(0xff, 0x00, 0x1a))).toBe('3 bytes: ff 00 1a');
  expect(bodyLine(new Uint8Array(100).fill(0xfe))).toMatch(/^100 bytes: (fe ){48}…$/);
});

test('a long body is cut', () => {
  expect(line('x'.repeat(5_000))).toBe(`${'x'.repeat(600)}…`);
});
