import { expect, test } from 'vitest';
import { readSettings, type SettingsFields } from './settings.js';

const FIELDS: SettingsFields = {
  url: ' ws://localhost:3102/sub ',
  mid: '7',
  key: 'web-1',
  room: 'live://1000',
  accepts: '1000, 1001,',
  token: '',
  extended: true,
};

function problem(fields: Partial<SettingsFields>): string {
  const settings = readSettings({ ...FIELDS, ...fields });
  return settings.ok ? '' : settings.error;
}

test('settings are trimmed and made into numbers', () => {
  expect(readSettings(FIELDS)).toEqual({
    ok: true,
    value: { ...FIELDS, url: 'ws://localhost:3102/sub', mid: 7, accepts: [1000, 1001] },
  });
});

test('an empty mid is nobody, and an empty key and room are allowed', () => {
  expect(readSettings({ ...FIELDS, mid: '', key: '', room: '' })).toMatchObject({
    value: { mid: 0, key: '', room: '' },
  });
});

test('a field that the server would refuse is refused with a sentence', () => {
  expect(problem({ url: 'http://localhost' })).toMatch(/ws:\/\//);
  expect(problem({ url: '' })).toMatch(/ws:\/\//);
  expect(problem({ mid: '9007199254740993' })).toMatch(/9007199254740991/);
  expect(problem({ mid: 'x' })).toMatch(/mid/);
  expect(problem({ key: 'k'.repeat(257) })).toMatch(/at most 256 bytes/);
  expect(problem({ room: 'a\u0000b' })).toMatch(/control characters/);
  expect(problem({ accepts: '1000,x' })).toMatch(/whole numbers/);
  expect(problem({ accepts: '2147483648' })).toMatch(/whole numbers/);
});
