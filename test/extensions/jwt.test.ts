/** auth.mode = "jwt": who a client is, which keys and rooms it may have, and until when, all from its token. */
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  get,
  type HalleyProcess,
  nodeEmpty,
  post,
  pushRoom,
  startHalley,
  WireClient,
} from '../kit/index.js';
import { adviceOf, join, welcomeOf } from './replies.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
/** Tokens count as valid for so long after their end, for clocks that differ. */
const SKEW_S = 5;

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: SECRET } });
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

interface TokenOptions {
  readonly secret?: string;
  readonly expiresInS?: number;
  readonly algorithm?: 'HS256' | 'HS512';
}

function token(claims: Record<string, unknown>, options: TokenOptions = {}): Promise<string> {
  const { secret = SECRET, expiresInS, algorithm = 'HS256' } = options;
  const signer = new SignJWT(claims).setProtectedHeader({ alg: algorithm });
  if (expiresInS !== undefined) signer.setExpirationTime(Math.floor(Date.now() / 1000) + expiresInS);
  return signer.sign(new TextEncoder().encode(secret));
}

async function refusalOf(auth: object): Promise<number> {
  const client = await WireClient.open(halley.wsUrl);
  client.send(7, JSON.stringify(auth));
  const { code } = await client.closing();
  expect(client.packets).toHaveLength(0);
  return code;
}

describe('a token', () => {
  it('says who the client is, goim or extended, whether the auth body names the mid or not', async () => {
    const plain = await WireClient.connect(halley.wsUrl, {
      token: await token({ mid: 501 }),
      key: 'j-1',
      accepts: [1000],
    });
    const named = await WireClient.connect(halley.wsUrl, {
      token: await token({ mid: '501' }, { expiresInS: 60 }),
      mid: 501,
      key: 'j-2',
      accepts: [1000],
      extended: true,
    });
    await post(`${halley.httpUrl}/goim/push/mids?operation=1000&mids=501`, 'to the user of the token');
    for (const client of [plain, named]) {
      expect((await client.messageCount(1))[0]?.text).toBe('to the user of the token');
      await client.close();
    }
  });

  it.each([
    ['is missing', async () => ({ mid: 1, key: 'k' })],
    ['is empty', async () => ({ mid: 1, key: 'k', token: '' })],
    ['is no JWT', async () => ({ key: 'k', token: 'abc.def.ghi' })],
    [
      'has another signature',
      async () => ({ key: 'k', token: await token({ mid: 1 }, { secret: SECRET.replace('a', 'b') }) }),
    ],
    ['has another algorithm', async () => ({ key: 'k', token: await token({ mid: 1 }, { algorithm: 'HS512' }) })],
    [
      'has no signature at all',
      async () => ({ key: 'k', token: `${base64('{"alg":"none"}')}.${base64('{"mid":1}')}.` }),
    ],
    ['has expired', async () => ({ key: 'k', token: await token({ mid: 1 }, { expiresInS: -60 }) })],
    ['names no user', async () => ({ key: 'k', token: await token({}) })],
    ['names a user beyond 2^53-1', async () => ({ key: 'k', token: await token({ mid: '9007199254740993' }) })],
  ])('that %s is refused with 3505', async (_, auth) => {
    expect(await refusalOf(await auth())).toBe(3505);
  });

  it.each([
    ['another mid than the token', async () => ({ mid: 2, key: 'phone', token: await token({ mid: 1 }) })],
    [
      'a key that the token does not name',
      async () => ({ key: 'tv', token: await token({ mid: 1, keys: ['phone'] }) }),
    ],
    ['no key where the token names two', async () => ({ token: await token({ mid: 1, keys: ['phone', 'tv'] }) })],
    [
      'a room that the token does not name',
      async () => ({ key: 'k', room_id: 'live://2', token: await token({ mid: 1, rooms: ['live://1', 'chat://*'] }) }),
    ],
    [
      'such a room among the further ones',
      async () => ({
        key: 'k',
        halley: 1,
        rooms: ['live://1', 'live://2'],
        token: await token({ mid: 1, rooms: ['live://1'] }),
      }),
    ],
  ])('is refused with 3506 beside an auth body with %s', async (_, auth) => {
    expect(await refusalOf(await auth())).toBe(3506);
  });

  it('that names one key gives it to a client that names none', async () => {
    const client = await WireClient.connect(halley.wsUrl, {
      token: await token({ mid: 502, keys: ['the-only-one'] }),
      extended: true,
    });
    expect((await welcomeOf(client)).key).toBe('the-only-one');
    await client.close();
  });
});

function base64(text: string): string {
  return Buffer.from(text).toString('base64url');
}

describe.each([
  ['without an end', undefined],
  ['with an end', 60],
])('the rooms of a token %s', (_, expiresInS) => {
  async function tokenForRooms(): Promise<string> {
    return token({ mid: 503, rooms: ['live://1', 'chat://*'] }, expiresInS === undefined ? {} : { expiresInS });
  }

  it('hold for ChangeRoom: the answer is the echo, the room stays', async () => {
    // A token without exp once lost its rooms after auth: the rule was kept beside the expiry only.
    const client = await WireClient.connect(halley.wsUrl, {
      token: await tokenForRooms(),
      key: 'c',
      roomId: 'live://1',
    });
    expect((await client.request(12, 'live://2', 13)).body.toString()).toBe('live://2');
    await pushRoom(halley.httpUrl, 'live://2', 'forbidden');
    await pushRoom(halley.httpUrl, 'live://1', 'allowed');
    expect((await client.messageCount(1)).map(({ text }) => text)).toEqual(['allowed']);
    await client.request(12, 'chat://anything', 13);
    const counts = await get(`${halley.httpUrl}/goim/online/room?type=chat&rooms=anything`);
    expect(counts.data).toEqual({ anything: 1 });
    await client.close();
  });

  it('hold for JoinRooms, each room for itself', async () => {
    const client = await WireClient.connect(halley.wsUrl, { token: await tokenForRooms(), key: 'j', extended: true });
    const rows = await join(client, 'live://1', 'live://2', 'chat://9', 'chat', 'chatter://9');
    expect(rows.map(({ error }) => error?.code)).toEqual([undefined, 200, undefined, 200, 200]);
    await client.close();
  });
});

it('a channel is closed with 3505 when its token ends, however lively it is, and the others stay', async () => {
  const stays = await WireClient.connect(halley.wsUrl, {
    token: await token({ mid: 504 }, { expiresInS: 60 }),
    key: 's',
  });
  // Valid for a second or two more, thanks to the skew.
  const auth = { token: await token({ mid: 504 }, { expiresInS: 2 - SKEW_S }), accepts: [1000] };
  const plain = await WireClient.connect(halley.wsUrl, { ...auth, key: 'ends-plain' });
  const extended = await WireClient.connect(halley.wsUrl, { ...auth, key: 'ends-extended', extended: true });
  await extended.request(2, '', 3);
  await eventually(() => {
    if (plain.closed === undefined) plain.send(2);
    return plain.closed;
  });
  const end = { code: 3505, reason: 'the token has expired' };
  expect(plain.closed).toEqual(end);
  expect(await extended.closing()).toEqual(end);
  expect(adviceOf(extended)).toMatchObject({ code: 3505, reconnect: false });
  await stays.request(2, '', 3);
  await stays.close();
  await nodeEmpty(halley.httpUrl);
});
