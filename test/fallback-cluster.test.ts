/**
 * Two nodes behind one balancer: a request that lands on the wrong node is taken to the right one.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startNode, startNodes } from './cluster/nodes.js';
import { FallbackClient, isPush, send } from './kit/fallback-client.js';
import { eventually, type HalleyProcess, pushRoom, type RedisServer, startRedis } from './kit/index.js';

let redis: RedisServer;
let nodes: HalleyProcess[] = [];
const OPTIONS = {
  prefix: 'fbc',
  args: ['--buckets', '2'],
  env: { HALLEY_CLUSTER_LEASE_MS: '2000', HALLEY_ID_LEASE_MS: '3000' },
};

beforeAll(async () => {
  redis = await startRedis();
  nodes = await startNodes(redis.url, 2, OPTIONS);
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await redis?.remove();
});

describe('a session of node 0, asked for on node 1', () => {
  test('polls and sends through it, in order, none lost', async () => {
    const [own, other] = nodes as [HalleyProcess, HalleyProcess];
    const client = await FallbackClient.connect(own.wsUrl, { key: 'poll', room_id: 'r://1', halley: 1 });
    // The directory is refreshed about once a second.
    const wrong = client.through(other.wsUrl);
    await eventually(async () => (await wrong.poll(0)).status === 200);
    expect((await wrong.post('send', { op: 1001, seq: 4 })).status).toBe(204);
    expect(await wrong.packets(1)).toMatchObject([{ op: 1001, seq: 4 }]);
    const pushing = (async () => {
      for (let index = 0; index < 100; index++) await pushRoom(nodes[index % 2]!.httpUrl, 'r://1', `m${index}`);
    })();
    const found = await wrong.packets(100);
    await pushing;
    expect(found.map(({ body }) => body).toSorted()).toEqual(
      Array.from({ length: 100 }, (_, index) => `m${index}`).toSorted(),
    );
    expect(found.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    expect((await wrong.post('send', { op: 'x' })).status).toBe(400);
    expect((await wrong.post('close', '')).status).toBe(204);
    expect((await wrong.poll(0)).status).toBe(410);
  });

  test('streams through it, and goes on where it was', async () => {
    const [own, other] = nodes as [HalleyProcess, HalleyProcess];
    const client = await FallbackClient.connect(own.wsUrl, { key: 'sse', room_id: 'r://2', halley: 1 });
    const stream = await client.through(other.wsUrl).stream({ format: 'json' });
    await stream.count(1);
    await pushRoom(own.httpUrl, 'r://2', 'one');
    await eventually(() => stream.packets.some(isPush));
    stream.close();
    await pushRoom(other.httpUrl, 'r://2', 'two');
    const again = await client.through(other.wsUrl).stream({ format: 'json' }, { 'last-event-id': '2' });
    await eventually(() => again.packets.some(isPush));
    expect(again.packets.map(({ body }) => body)).toEqual(['two']);
    // An end on the other node comes through too.
    expect((await client.post('close', '')).status).toBe(204);
    await eventually(() => again.isEnded);
    expect(again.events.at(-1)?.event).toBe('close');
  });

  test('is not passed on twice: a request that says it comes from a node is answered where it is', async () => {
    const [own, other] = nodes as [HalleyProcess, HalleyProcess];
    const client = await FallbackClient.connect(own.wsUrl, { key: 'hop' });
    const answer = await client.through(other.wsUrl).poll(0, { headers: { 'halley-hop': '1' } });
    expect([answer.status, answer.json.reconnect, answer.headers['retry-after']]).toEqual([503, true, '1']);
    // Nobody but a bucket gets past the secret, and it is not asked for where clients come in.
    expect((await client.poll(0, { headers: { 'halley-bucket': 'x' } })).status).toBe(200);
  });

  test('is unreachable (503) while the node is frozen, and gone (410) when the node is', async () => {
    const [, other] = nodes as [HalleyProcess, HalleyProcess];
    // Frozen for less than its lease, also on a loaded machine.
    const env = { ...OPTIONS.env, HALLEY_CLUSTER_LEASE_MS: '6000' };
    const third = await startNode(redis.url, 2, { ...OPTIONS, env });
    const client = await FallbackClient.connect(third.wsUrl, { key: 'gone' });
    const wrong = client.through(other.wsUrl);
    await eventually(async () => (await wrong.poll(0)).status === 200);
    process.kill(third.pid, 'SIGSTOP');
    try {
      const frozen = await wrong.poll(0);
      expect([frozen.status, frozen.json.reconnect, frozen.json.retry_after_ms]).toEqual([503, true, 1000]);
    } finally {
      process.kill(third.pid, 'SIGCONT');
      await third.stop('SIGKILL');
    }
    const gone = await eventually(async () => {
      const answer = await wrong.poll(0);
      return answer.status === 410 && answer;
    }, 15_000);
    expect(gone.json).toMatchObject({ code: 3000, reconnect: true });
    const never = await send(new FallbackClient(wrong.base, Buffer.alloc(40, 1).toString('base64url')).url('poll'));
    expect(never.status).toBe(410);
  });
});
