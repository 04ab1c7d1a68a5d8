/** One process per role: clients at the comet, the backend at the logic node, the job between them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  eventually,
  get,
  type HalleyProcess,
  onlineCount,
  post,
  pushRoom,
  type RedisServer,
  readiness,
  runHalley,
  startRedis,
  WireClient,
} from '../kit/index.js';
import { startNode, stopNodes } from './nodes.js';
import { PUSH_OP } from './producers.js';

const COMET_ADDRESS = '203.0.113.7';
let redis: RedisServer;
let comet: HalleyProcess;
let logic: HalleyProcess;
let job: HalleyProcess;
beforeAll(async () => {
  redis = await startRedis();
  const role = (name: string, env: Record<string, string> = {}) =>
    startNode(redis.url, name, { prefix: 'role', args: ['--role', name], env });
  [comet, logic, job] = await Promise.all([
    role('comet', { HALLEY_NODE_ADDRS: COMET_ADDRESS }),
    role('logic', { HALLEY_NODE_ADDRS: '203.0.113.8' }),
    role('job', { HALLEY_NODE_ADDRS: '203.0.113.9' }),
  ]);
});
afterAll(async () => {
  const codes = await stopNodes([comet, logic, job]);
  await redis.remove();
  expect(codes).toEqual([0, 0, 0]);
});

it('is ready in every role', async () => {
  for (const node of [comet, logic, job]) {
    await eventually(async () => (await readiness(node.httpUrl)).ready, 5_000, 'ready').catch(
      async (error: unknown) => {
        throw new Error(`${String(error)}: ${JSON.stringify(await readiness(node.httpUrl))}`);
      },
    );
  }
});

it('brings durable and direct pushes from the logic node to clients at the comet', async () => {
  const clients = await Promise.all(
    [0, 1, 2].map((index) =>
      WireClient.connect(comet.wsUrl, { key: `r${index}`, mid: 5, roomId: 'live://1', accepts: [PUSH_OP] }),
    ),
  );
  await pushRoom(logic.httpUrl, 'live://1', 'to the room');
  const op = `operation=${PUSH_OP}`;
  expect((await post(`${logic.httpUrl}/goim/push/keys?${op}&keys=r1`, 'to a key')).code).toBe(0);
  expect((await post(`${logic.httpUrl}/goim/push/mids?${op}&mids=5`, 'to a user')).code).toBe(0);
  expect((await post(`${logic.httpUrl}/goim/push/all?${op}`, 'to all')).code).toBe(0);
  for (const [index, client] of clients.entries()) {
    const expected = ['to the room', ...(index === 1 ? ['to a key'] : []), 'to a user', 'to all'].sort();
    await client.messageCount(expected.length);
    expect(client.messages.map(({ text }) => text).sort()).toEqual(expected);
  }
  const answer = await post(`${logic.httpUrl}/halley/push/batch`, [
    { room: 'live://1', op: PUSH_OP, body: 'direct to the room' },
    { keys: ['r2'], op: PUSH_OP, body: 'direct to a key' },
    { mids: [5], op: PUSH_OP, body: 'direct to a user' },
    { all: true, op: PUSH_OP, body: 'direct to all' },
  ]);
  expect((answer.data as { code: number }[]).map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  await Promise.all(clients.map((client, index) => client.messageCount(6 + Number(index === 1) + Number(index === 2))));
  await eventually(
    async () => (await onlineCount(logic.httpUrl, 'live://1')) === 3,
    3_000,
    'three members, told by logic',
  );
  await Promise.all(clients.map((client) => client.close()));
});

it('lists only the comet in nodes/weighted, on every node', async () => {
  for (const node of [comet, logic, job]) {
    const weighted = await eventually(
      async () => {
        const { data } = await get(`${node.httpUrl}/goim/nodes/weighted?platform=android`);
        return JSON.stringify(data.nodes) === JSON.stringify([COMET_ADDRESS]) ? data : undefined;
      },
      3_000,
      'the comet alone',
    );
    expect(weighted.ws_port).toBe(comet.wsPort);
    const { data: rows } = await get(`${node.httpUrl}/halley/nodes`);
    expect((rows.nodes as { server_id: string }[]).map(({ server_id }) => server_id)).toEqual(['role-comet']);
  }
});

it('keeps durable pushes while no job runs, and delivers them when one comes', async () => {
  const client = await WireClient.connect(comet.wsUrl, { key: 'waits', mid: 6, accepts: [PUSH_OP] });
  expect(await job.stop()).toBe(0);
  for (let no = 0; no < 20; no++) {
    const answer = await post(`${logic.httpUrl}/goim/push/keys?operation=${PUSH_OP}&keys=waits`, `kept ${no}`);
    expect(answer.code).toBe(0);
  }
  expect(client.messages).toEqual([]);
  job = await startNode(redis.url, 'job', { prefix: 'role', args: ['--role', 'job'] });
  await client.messageCount(20);
  expect(client.messages.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, no) => `kept ${no}`));
  await client.close();
});

it('refuses a role of its own without Redis, in one clear sentence', async () => {
  for (const role of ['comet', 'logic', 'job']) {
    const { code, stderr } = await runHalley([
      '--role',
      role,
      '--ws-port',
      '0',
      '--http-port',
      '0',
      '--data-dir',
      '/nonexistent',
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('role must be all where redis is empty');
  }
});
