import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { curlCommand, type PushFields, pushRequest } from './push-request.js';

const FIELDS: PushFields = { target: 'room', to: 'live://1000', op: '1000', body: 'hi', times: '1' };

function request(fields: Partial<PushFields>) {
  const made = pushRequest({ ...FIELDS, ...fields });
  if (!made.ok) throw new Error(made.error);
  return made.value;
}

function refusal(fields: Partial<PushFields>): string {
  const made = pushRequest({ ...FIELDS, ...fields });
  if (made.ok) throw new Error(`not refused: ${made.value.path}`);
  return made.error;
}

describe('a push request', () => {
  test('names the target as goim does', () => {
    expect(request({}).path).toBe('/goim/push/room?operation=1000&type=live&room=1000');
    expect(request({ target: 'key', to: 'a, b' }).path).toBe('/goim/push/keys?operation=1000&keys=a&keys=b');
    expect(request({ target: 'mid', to: '1,2' }).path).toBe('/goim/push/mids?operation=1000&mids=1&mids=2');
    expect(request({ target: 'all', to: 'whatever' }).path).toBe('/goim/push/all?operation=1000');
  });

  test('escapes what a query would read otherwise', () => {
    expect(request({ to: 'chat://a/b?c&d [1]' }).path).toBe(
      '/goim/push/room?operation=1000&type=chat&room=a%2Fb%3Fc%26d%20%5B1%5D',
    );
  });

  test('is refused with a sentence where the API would refuse it', () => {
    expect(refusal({ to: 'plain' })).toMatch(/type:\/\/id/);
    expect(refusal({ target: 'key', to: ' , ' })).toMatch(/device key/);
    for (const to of ['', 'x', '1.5', '9007199254740993'])
      expect(refusal({ target: 'mid', to })).toMatch(/9007199254740991/);
    for (const op of ['', '0', '-1', '1.5', '2147483648']) expect(refusal({ op })).toMatch(/operation/);
    for (const times of ['0', '1001', 'x', '']) expect(refusal({ times })).toMatch(/1 to 1000/);
  });
});

describe('the curl command', () => {
  test('is what a person would type', () => {
    expect(curlCommand('http://localhost:3111', request({}), false)).toBe(
      "curl --data-raw 'hi' 'http://localhost:3111/goim/push/room?operation=1000&type=live&room=1000'",
    );
  });

  test('repeats by itself, and takes the token from the environment', () => {
    const command = curlCommand('http://localhost:3111', request({ times: '50' }), true);
    expect(command).toContain('&n=[1-50]');
    expect(command).toContain('-H "Authorization: Bearer $HALLEY_HTTP_TOKEN"');
  });

  test('reaches curl word by word whatever the body holds', () => {
    const body = `it's "quoted" $HOME \`id\` \\ and\na new line @file`;
    const command = curlCommand('http://localhost:3111', request({ body }), false);
    const script = `curl() { printf '%s\\0' "$@"; }\n${command}`;
    const words = execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).split('\0');
    expect(words).toEqual([
      '--data-raw',
      body,
      'http://localhost:3111/goim/push/room?operation=1000&type=live&room=1000',
      '',
    ]);
  });
});
