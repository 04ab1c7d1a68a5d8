import { afterEach, describe, expect, it } from 'vitest';
import type { DurablePush, DurableQueue, PushOutcome } from '../../push/index.js';
import { ApiHarness, eventually } from './fixtures/api-harness.js';

/** Keeps what it is given and answers when the test says so. */
class HeldQueue implements DurableQueue {
  readonly pushes: DurablePush[] = [];
  readonly #waiting: (() => void)[] = [];
  outcome: PushOutcome = 'ok';
  isHeld = false;

  append(pushes: readonly DurablePush[]): Promise<readonly PushOutcome[]> {
    this.pushes.push(...pushes);
    return new Promise((resolve) => {
      const answer = () => resolve(pushes.map(() => this.outcome));
      if (this.isHeld) this.#waiting.push(answer);
      else answer();
    });
  }

  release(): void {
    this.isHeld = false;
    for (const answer of this.#waiting.splice(0)) answer();
  }
}

const harnesses: ApiHarness[] = [];
afterEach(() => {
  for (const harness of harnesses.splice(0)) harness.api.close();
});

async function started(durable?: DurableQueue): Promise<ApiHarness> {
  const harness = await new ApiHarness({ durable }).start();
  harnesses.push(harness);
  return harness;
}

const ROOM = '/goim/push/room?operation=1000&type=live&room=1';
const COMMANDS = [
  { room: 'live://1', op: 1, body: 'a' },
  { room: 'live://1', op: 0, body: 'bad' },
  { keys: ['k'], op: 2, body: 'b' },
];

describe('a push into the durable queue', () => {
  it('is answered when the queue has acknowledged, with the bytes of goim, and does not touch the direct pusher', async () => {
    const durable = new HeldQueue();
    durable.isHeld = true;
    const api = await started(durable);
    let isAnswered = false;
    const answer = api.post(ROOM, 'hi').finally(() => {
      isAnswered = true;
    });
    await eventually(() => durable.pushes.length === 1, 'the push arrives');
    // Another connection is answered meanwhile, so the first one could have been.
    expect((await api.get('/health')).status).toBe(200);
    expect(isAnswered).toBe(false);
    durable.release();
    expect(await answer).toMatchObject({ status: 200, text: '{"code":0,"message":""}' });
    expect(api.pusher.commands).toEqual([]);
    expect(durable.pushes[0]).toMatchObject({ target: { kind: 'rooms', rooms: ['live://1'] }, op: 1000 });
  });

  it.each([
    '/goim/push/keys?operation=1&keys=k',
    '/goim/push/mids?operation=1&mids=7',
    ROOM,
    '/goim/push/all?operation=1',
  ])('is refused with 503 and Retry-After while the queue is full: %s', async (target) => {
    const durable = new HeldQueue();
    durable.outcome = 'full';
    const api = await started(durable);
    const answer = await api.post(target, 'hi');
    expect(answer).toMatchObject({ status: 503, json: { code: -503 } });
    expect(answer.headers['retry-after']).toBe('1');
  });

  it('is refused with 413 and counted where it is too large', async () => {
    const durable = new HeldQueue();
    durable.outcome = 'too_large';
    const api = await started(durable);
    expect(await api.post(ROOM, 'hi')).toMatchObject({ status: 413, json: { code: -413 } });
    expect(api.pushesTooLarge).toBe(1);
  });

  it('keeps the order of requests on one connection', async () => {
    const durable = new HeldQueue();
    durable.isHeld = true;
    const api = await started(durable);
    const socket = await api.connect();
    const request = (body: string) => `POST ${ROOM} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n${body}`;
    await socket.send(request('1') + request('2'));
    await eventually(() => durable.pushes.length === 1, 'the first push arrives');
    expect((await api.get('/health')).status).toBe(200);
    expect(durable.pushes.length).toBe(1);
    durable.release();
    await socket.replies(2);
    expect(durable.pushes.map(({ body }) => Buffer.from(body).toString())).toEqual(['1', '2']);
    socket.socket.destroy();
  });

  it('carries the header Halley-Message-Id, which must be visible ASCII', async () => {
    const durable = new HeldQueue();
    const api = await started(durable);
    await api.post(ROOM, 'hi', { 'Halley-Message-Id': 'order-17' });
    await api.post(ROOM, 'hi');
    expect(durable.pushes.map(({ idempotencyId }) => idempotencyId)).toEqual(['order-17', undefined]);
    for (const wrong of ['a b', 'x'.repeat(121), 'caf\u00e9']) {
      expect(await api.post(ROOM, 'hi', { 'Halley-Message-Id': wrong })).toMatchObject({
        status: 400,
        json: { code: -400 },
      });
    }
    expect(durable.pushes.length).toBe(2);
  });

  it('is what a batch asks for with durable=true; without it a batch stays direct', async () => {
    const durable = new HeldQueue();
    const api = await started(durable);
    const rows = { data: [{ code: 0 }, { code: -400 }, { code: 0 }] };
    const kept = await api.postJson('/halley/push/batch?durable=true', COMMANDS, { 'Halley-Message-Id': 'list' });
    expect(kept.json).toMatchObject(rows);
    expect(durable.pushes.map(({ idempotencyId }) => idempotencyId)).toEqual(['list#0', 'list#2']);
    expect(api.pusher.commands).toEqual([]);
    expect((await api.postJson('/halley/push/batch', COMMANDS)).json).toMatchObject(rows);
    expect(api.pusher.commands.length).toBe(2);
    expect(durable.pushes.length).toBe(2);
    expect(await api.postJson('/halley/push/batch?durable=yes', COMMANDS)).toMatchObject({ status: 400 });
  });

  it('goes to the queue of the node where there is no cluster, and is answered in the call', async () => {
    const api = await started();
    const answer = await api.post(ROOM, 'hi', { 'Halley-Message-Id': 'x' });
    expect(answer).toMatchObject({ status: 200, text: '{"code":0,"message":""}' });
    await api.postJson('/halley/push/batch?durable=true', COMMANDS);
    expect(api.pusher.commands.length).toBe(3);
  });
});
