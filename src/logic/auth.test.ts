import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import type { AuthRequest, AuthVerdict } from '../push/index.js';
import { createAuthenticator } from './auth.js';

const SECRET = 'a secret of at least thirty-two bytes';
const NOW_S = 1_800_000_000;
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token made by hand, so that every wrong form can be made too. */
function token(payload: unknown, header: unknown = { alg: 'HS256', typ: 'JWT' }, secret: string | Buffer = SECRET) {
  const signed = `${base64url(header)}.${base64url(payload)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const request = (members: Partial<AuthRequest> = {}): AuthRequest => ({
  mid: 0,
  key: 'phone',
  roomId: '',
  rooms: [],
  ...members,
});

const jwt = createAuthenticator({ mode: 'jwt', secret: SECRET, skewS: 5, nowMs: () => NOW_S * 1000 });

async function accepted(claims: unknown, members: Partial<AuthRequest> = {}) {
  const verdict = await jwt.authenticate(request({ token: token(claims), ...members }));
  if (!verdict.ok) throw new Error(verdict.message);
  return verdict;
}
async function refused(members: Partial<AuthRequest>): Promise<AuthVerdict & { ok: false }> {
  const verdict = await jwt.authenticate(request(members));
  if (verdict.ok) throw new Error('was accepted');
  return verdict;
}

describe('open authentication', () => {
  const open = createAuthenticator({ mode: 'open' });

  it('answers in the call, believes mid and key, and allows every room', () => {
    const verdict = open.authenticate(request({ mid: 7, key: 'phone', roomId: 'live://1' }));
    expect(verdict).toMatchObject({ ok: true, mid: 7, key: 'phone', expiresAtMs: 0 });
    expect((verdict as AuthVerdict & { ok: true }).allowsRoom('any://thing')).toBe(true);
  });

  it('gives a nameless device a new UUID v4', () => {
    const keys = [1, 2].map(() => (open.authenticate(request({ key: '' })) as { key: string }).key);
    for (const key of keys) expect(key).toMatch(UUID_V4);
    expect(keys[0]).not.toBe(keys[1]);
  });
});

describe('jwt authentication', () => {
  it('takes the user from the token, as a number or as text', async () => {
    expect((await accepted({ mid: 42 })).mid).toBe(42);
    expect((await accepted({ mid: '42' })).mid).toBe(42);
    expect((await accepted({ mid: 42 }, { mid: 42 })).mid).toBe(42);
    expect((await accepted({ mid: '9007199254740991' })).mid).toBe(Number.MAX_SAFE_INTEGER);
  });

  it.each([
    ['another mid in the body', { token: token({ mid: 42 }), mid: 43 }, 'FORBIDDEN', 'another user'],
    ['no token', {}, 'UNAUTHORIZED', '"token"'],
    ['an empty token', { token: '' }, 'UNAUTHORIZED', '"token"'],
    ['text that is no token', { token: 'abc' }, 'UNAUTHORIZED', 'not a JWT'],
    ['no mid', { token: token({}) }, 'UNAUTHORIZED', '"mid"'],
    ['a fractional mid', { token: token({ mid: 1.5 }) }, 'UNAUTHORIZED', '"mid"'],
    ['a mid that is no number', { token: token({ mid: '4x' }) }, 'UNAUTHORIZED', '"mid"'],
    ['a mid beyond 2^53-1', { token: token({ mid: '9007199254740992' }) }, 'UNAUTHORIZED', '"mid"'],
    ['keys that are no array', { token: token({ mid: 1, keys: 'phone' }) }, 'UNAUTHORIZED', '"keys"'],
    ['rooms of the wrong type', { token: token({ mid: 1, rooms: [1] }) }, 'UNAUTHORIZED', '"rooms"'],
    ['a payload that is no object', { token: token([1]) }, 'UNAUTHORIZED', 'not a JWT'],
    ['a key outside the claim', { token: token({ mid: 1, keys: ['pad'] }) }, 'FORBIDDEN', 'key="phone"'],
    ['no key where several are allowed', { token: token({ mid: 1, keys: ['a', 'b'] }), key: '' }, 'FORBIDDEN', 'key'],
    ['a room outside the claim', { token: token({ mid: 1, rooms: ['a://1'] }), roomId: 'a://2' }, 'FORBIDDEN', 'a://2'],
    [
      'one of several rooms outside the claim',
      { token: token({ mid: 1, rooms: ['a://*'] }), rooms: ['a://1', 'b://1'] },
      'FORBIDDEN',
      'b://1',
    ],
    ['an expired token', { token: token({ mid: 1, exp: NOW_S - 6 }) }, 'UNAUTHORIZED', 'expired'],
    ['a token of tomorrow', { token: token({ mid: 1, nbf: NOW_S + 6 }) }, 'UNAUTHORIZED', '"nbf"'],
    ['a wrong secret', { token: token({ mid: 1 }, undefined, `${SECRET}!`) }, 'UNAUTHORIZED', 'signature'],
  ])('refuses %s', async (_what, members, closeName, part) => {
    const verdict = await refused(members);
    expect(verdict.closeName).toBe(closeName);
    expect(verdict.message).toContain(part);
  });

  it('honours exp and nbf with a small skew and says when the permission ends', async () => {
    expect((await accepted({ mid: 1, exp: NOW_S - 4 })).expiresAtMs).toBe((NOW_S + 1) * 1000);
    expect((await accepted({ mid: 1, exp: NOW_S + 60, nbf: NOW_S + 4 })).expiresAtMs).toBe((NOW_S + 65) * 1000);
    expect((await accepted({ mid: 1 })).expiresAtMs).toBe(0);
  });

  it('takes the only allowed key for a nameless device, or a new UUID where any is allowed', async () => {
    expect((await accepted({ mid: 1, keys: ['pad'] }, { key: '' })).key).toBe('pad');
    expect((await accepted({ mid: 1 }, { key: '' })).key).toMatch(UUID_V4);
    expect((await accepted({ mid: 1, keys: ['pad', 'phone'] })).key).toBe('phone');
  });

  it('allows exact rooms and whole types, nothing that merely begins alike, and shares the rule between channels', async () => {
    const claim = ['live://1', 'chat://*', 'plain'];
    const { allowsRoom } = await accepted({ mid: 1, rooms: claim });
    expect(['live://1', 'chat://1', 'chat://a/b', 'plain'].map(allowsRoom)).toEqual([true, true, true, true]);
    expect(['live://10', 'live://', 'chat://', 'chat2://1', 'chat', 'plain2', ''].map(allowsRoom)).not.toContain(true);
    expect((await accepted({ mid: 2, rooms: claim })).allowsRoom).toBe(allowsRoom);
    expect((await accepted({ mid: 2, rooms: [] })).allowsRoom('live://1')).toBe(false);
  });

  it('refuses every algorithm but HS256, however the token is signed', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const payload = base64url({ mid: 1 });
    const rs256 = `${base64url({ alg: 'RS256' })}.${payload}`;
    const forged = [
      `${base64url({ alg: 'none' })}.${payload}.`,
      `${base64url({ alg: 'None' })}.${payload}.`,
      `${rs256}.${sign('sha256', Buffer.from(rs256), privateKey).toString('base64url')}`,
      // The classic: an RS256 header, signed by HMAC with what the verifier has at hand.
      token({ mid: 1 }, { alg: 'RS256' }),
      token({ mid: 1 }, { alg: 'HS256' }, publicKey.export({ type: 'spki', format: 'pem' }) as string),
      token({ mid: 1 }, { alg: 'HS512' }),
      token({ mid: 1 }, { alg: 'HS256', crit: ['b64'], b64: false }),
      token({ mid: 1 }, {}),
    ];
    for (const one of forged) expect((await refused({ token: one })).closeName).toBe('UNAUTHORIZED');
  });

  it('refuses a token of which any one character was changed', async () => {
    const good = token({ mid: 1 });
    for (let index = 0; index < good.length - 1; index++) {
      const changed = good[index] === 'A' ? 'B' : 'A';
      expect((await refused({ token: good.slice(0, index) + changed + good.slice(index + 1) })).ok).toBe(false);
    }
  });

  it('never repeats the token in a message', async () => {
    const bad = token({ mid: 1 }, undefined, 'wrong');
    expect((await refused({ token: bad })).message).not.toContain(bad.slice(0, 20));
  });

  it('refuses a secret shorter than HS256 needs', () => {
    expect(() => createAuthenticator({ mode: 'jwt', secret: 'short' })).toThrow(HalleyError);
  });
});
