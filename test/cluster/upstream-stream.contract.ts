/**
 * The stream of upstream events on a Redis Cluster: events of all nodes in one stream, in order per channel, each once, also while
 * the master that holds it dies or its slot moves.
 */
import { Cluster } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import {
  eventually,
  type HalleyProcess,
  ownerOf,
  type RedisClusterServers,
  type RedisServer,
  SlotMove,
  slotOf,
  startRedisCluster,
  WireClient,
} from '../kit/index.js';
import { isReplicated } from './failover.js';
import { startNode } from './nodes.js';

const PREFIX = 'up';
const STREAM = `${PREFIX}:events`;
const MESSAGE_OP = 1000;
const CLIENTS = 12;
const TEST_MS = 90_000;
let servers: RedisClusterServers;
let nodes: HalleyProcess[] = [];
let store: Cluster;
const clients: WireClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  await Promise.all(nodes.splice(0).map((node) => node.stop('SIGKILL')));
  store.disconnect();
  await servers.remove();
});

interface Event {
  readonly id: string;
  readonly type: string;
  readonly key?: string;
  readonly mid?: number;
  readonly body?: string;
}

async function start(replicaCount: number): Promise<void> {
  servers = await startRedisCluster(3, { replicaCount });
  store = new Cluster(
    servers.servers.map(({ port }) => ({ host: '127.0.0.1', port })),
    { redisOptions: { protocol: 2 } },
  );
  nodes = await Promise.all(
    [0, 1].map((no) =>
      startNode(servers.url, no, {
        prefix: PREFIX,
        env: { HALLEY_UPSTREAM_SINK: 'stream', HALLEY_UPSTREAM_OFFLINE_DEBOUNCE_MS: '200' },
      }),
    ),
  );
  clients.push(
    ...(await Promise.all(
      // Two devices of each user, one per node.
      Array.from({ length: CLIENTS }, (_, no) =>
        WireClient.connect(nodes[no % 2]!.wsUrl, { key: `device-${no}`, mid: 1 + (no >> 1), roomId: 'live://1' }),
      ),
    )),
  );
}

async function events(): Promise<readonly Event[]> {
  const entries = await store.xrange(STREAM, '-', '+');
  return entries.map(([, fields]) => JSON.parse(fields[fields.indexOf('event') + 1] ?? '') as Event);
}

let sentCount = 0;
/** Each client sends as many messages; where the last of them stands in the stream, all should. */
function send(count: number): void {
  for (let no = 0; no < count; no++) {
    for (const client of clients) client.send(MESSAGE_OP, `m${sentCount}`);
    sentCount += 1;
  }
}

/** Everything of every channel stands there once, in order. */
async function isComplete(): Promise<void> {
  const wanted = ['connect', ...Array.from({ length: sentCount }, (_, no) => `m${no}`), 'disconnect'];
  await Promise.all(clients.map((client) => client.close()));
  const told = await eventually(
    async () => {
      const all = await events();
      return all.filter(({ type }) => type === 'offline').length >= CLIENTS / 2 ? all : undefined;
    },
    20_000,
    'everybody is offline',
  );
  expect(new Set(told.map(({ id }) => id)).size).toBe(told.length);
  for (const no of clients.keys()) {
    const mine = told.filter(
      ({ key, type }) => key === `device-${no}` && ['connect', 'message', 'disconnect'].includes(type),
    );
    expect(mine.map(({ type, body }) => body ?? type)).toEqual(wanted);
  }
  for (let mid = 1; mid <= CLIENTS / 2; mid++) {
    const presence = told.filter((event) => event.mid === mid && ['online', 'offline'].includes(event.type));
    expect(presence.map(({ type }) => type)).toEqual(['online', 'offline']);
  }
}

/** Each case starts a Redis Cluster of its own. */
export function upstreamStreamSuite(kind: 'slot move' | 'dead master'): void {
  if (kind === 'slot move')
    it(
      'holds the events of two nodes, each once, in order per channel, and tells a user of two nodes online and offline once',
      async () => {
        sentCount = 0;
        await start(0);
        send(50);
        // Its slot goes to another master meanwhile.
        const [first] = servers.servers as [RedisServer];
        const slot = await slotOf(first, STREAM);
        const owner = await ownerOf(servers.servers, slot);
        const to = servers.servers.find((server) => server !== owner) as RedisServer;
        const move = await SlotMove.begin(servers.servers, slot, to);
        send(50);
        await eventually(async () => (await events()).length > 0);
        await move.finish();
        send(50);
        await isComplete();
        // What a consumer does.
        await store.xgroup('CREATE', STREAM, 'backend', '0');
        const read = (await store.xreadgroup(
          'GROUP',
          'backend',
          'c',
          'COUNT',
          10,
          'STREAMS',
          STREAM,
          '>',
        )) as unknown[];
        expect(read).toHaveLength(1);
      },
      TEST_MS,
    );
  else
    it(
      'goes on with what its replica has when its master is killed: what comes after that stands there once and in order',
      async () => {
        sentCount = 0;
        await start(1);
        send(50);
        await eventually(
          async () => (await events()).filter(({ type }) => type === 'message').length === 50 * CLIENTS,
          20_000,
          'all messages so far',
        );
        const [first] = servers.servers as [RedisServer];
        const victim = await ownerOf(servers.servers, await slotOf(first, STREAM));
        await isReplicated(victim);
        await victim.stop('SIGKILL');
        send(50);
        await eventually(
          async () => (await events().catch(() => [])).filter(({ type }) => type === 'message').length >= 100 * CLIENTS,
          30_000,
          'messages of the outage',
        );
        send(20);
        await isComplete();
      },
      TEST_MS,
    );
}
