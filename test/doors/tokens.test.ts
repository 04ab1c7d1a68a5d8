/** auth.mode = "jwt" on every door: who may come in, into which rooms, and until when. */
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { roomRows } from '../extensions/replies.js';
import { DOORS, DoorClient, type DoorEnd, TOLD_NOTHING } from '../kit/index.js';
import { APP_OP, FORMS, fresh, join, PUSH_OP, push, startDoorNode, type TestNode, whereTold } from './door-node.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
/** Tokens count as valid for so long after their end, for clocks that differ. */
const SKEW_S = 5;

let node: TestNode;
beforeAll(async () => {
  node = await startDoorNode({ HALLEY_AUTH_MODE: 'jwt', HALLEY_AUTH_JWT_SECRET: SECRET });
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

function token(claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(secret));
}

describe.each(DOORS)('a token on $name', (door) => {
  /** Nobody gets op 6 before auth: a mute door just ends. */
  const refusal = (code: number, status: number): Partial<DoorEnd> => {
    if (door.isMute) return { code: TOLD_NOTHING };
    return door.isHttp ? { code, reconnect: false, status } : { code };
  };

  it.each(FORMS)('says who a %s client is', async (form) => {
    const client = await join(node, door, form, {
      mid: undefined,
      token: await token({ mid: 77 }),
      accepts: [PUSH_OP],
    });
    await push(node, 'mids', 'mids=77', 'to the user of the token');
    expect((await client.messageCount(1))[0]?.text).toBe('to the user of the token');
    await client.close();
  });

  it.each([
    ['is missing', CLOSE.UNAUTHORIZED, 401, async () => ({})],
    ['is no token', CLOSE.UNAUTHORIZED, 401, async () => ({ token: 'abc.def.ghi' })],
    [
      'is signed by another',
      CLOSE.UNAUTHORIZED,
      401,
      async () => ({ token: await token({ mid: 1 }, SECRET.replace('a', 'b')) }),
    ],
    [
      'does not allow the room',
      CLOSE.FORBIDDEN,
      403,
      async () => ({ room_id: 'live://2', token: await token({ mid: 1, rooms: ['live://1'] }) }),
    ],
  ])('that %s lets nobody in', async (_, { code }, status, auth) => {
    const client = DoorClient.open(door, node, { halley: 1, key: fresh('refused'), ...(await auth()) });
    expect(await client.closing()).toMatchObject(refusal(code, status));
    expect(client.packets).toEqual([]);
  });

  it('lets its client into its rooms only, later too', async () => {
    const allowed = { mid: undefined, token: await token({ mid: 1, rooms: ['live://1'] }) };
    const client = await join(node, door, 'extended', allowed);
    const rows = roomRows((await client.request(18, '["live://1","live://2"]', 19)).body);
    expect(rows.map(({ error }) => error?.code)).toEqual([undefined, 200]);
    await client.close();
  });

  it.concurrent.each(FORMS)('that has ended ends its %s client, who may come back with another', async (form) => {
    const exp = Math.floor(Date.now() / 1000) + 2 - SKEW_S;
    const client = await join(node, door, form, { mid: undefined, token: await token({ mid: 1, exp }) });
    expect((await client.request(APP_OP.ECHO, 'for now')).body.toString()).toBe('for now');
    expect(await client.closing()).toMatchObject({
      code: client.toldOf(CLOSE.UNAUTHORIZED.code),
      ...whereTold(client, { reason: 'the token has expired', reconnect: false }),
    });
  });
});
