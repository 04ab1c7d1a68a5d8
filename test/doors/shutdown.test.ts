/** A node that its operator empties, and one that stops: on every door a client hears where it stands and how long to wait. */
import { expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { DOORS, DoorClient, runHalley } from '../kit/index.js';
import { FORMS, join, startDoorNode, type TestNode } from './door-node.js';

const WINDOW_MS = 4_321;

async function crowd(node: TestNode): Promise<DoorClient[]> {
  const joining = DOORS.flatMap((door) =>
    FORMS.flatMap((form) => Array.from({ length: 2 }, () => join(node, door, form, { room_id: 'live://1' }))),
  );
  return Promise.all(joining);
}

async function expectAdvice(clients: readonly DoorClient[]): Promise<void> {
  for (const client of clients) {
    const end = await client.closing();
    expect([client.door.name, end.code]).toEqual([client.door.name, client.toldOf(CLOSE.SHUTDOWN.code)]);
    if (!client.isExtended) continue;
    expect(end).toMatchObject({ reason: 'shutdown', reconnect: true, retryAfterMs: WINDOW_MS });
    expect(JSON.parse((await client.expect(8)).body.toString())).toMatchObject({ reconnect_window_ms: WINDOW_MS });
  }
}

it('tells everyone at a drain that moves them, serves who comes all the same, and tells them at its stop', async () => {
  const node = await startDoorNode({ HALLEY_RECONNECT_WINDOW_MS: String(WINDOW_MS) });
  try {
    const moved = await crowd(node);
    const { code, stdout } = await runHalley(['drain', '--move', '300', '--url', node.httpUrl, '--json']);
    expect([code, JSON.parse(stdout)]).toEqual([0, { draining: true, moving: moved.length }]);
    await expectAdvice(moved);
    const last = await crowd(node);
    const stopped = node.halley.stop();
    await expectAdvice(last);
    expect(await stopped).toBe(0);
    // Nobody comes in any more.
    for (const door of DOORS) {
      const late = DoorClient.open(door, node, { mid: 1 });
      expect((await late.closing()).code).not.toBe(CLOSE.SHUTDOWN.code);
      expect(late.packets).toEqual([]);
    }
  } finally {
    await node.stop();
  }
});
