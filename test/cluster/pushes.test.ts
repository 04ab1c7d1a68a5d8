/**
 * Pushes over nodes: all four targets through every door, on one Redis with a crowd and on a Redis Cluster with a small one. Each
 * push reaches exactly whom it is meant for, once, and those of one producer in the order in which it sent them.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HalleyProcess, startRedis, startRedisCluster } from '../kit/index.js';
import { Crowd } from './crowd.js';
import { startNodes, stopNodes } from './nodes.js';
import { batchRoute, goimRoutes, halleyCli, msgpackPublisher, type Producer, redisCli } from './producers.js';

const NODES = 3;
const ROUNDS = 12;

function httpDoors(nodes: readonly HalleyProcess[]): Producer[] {
  return nodes.flatMap((node, index) => [
    goimRoutes(node, `goim on node ${index}`),
    batchRoute(node, `batch on node ${index}`),
  ]);
}

function cliDoors([first, second]: readonly HalleyProcess[]): Producer[] {
  return [halleyCli(first!, 'halley push', false), halleyCli(second!, 'halley push --durable', true)];
}

async function pushEverything(crowd: Crowd, producers: readonly Producer[]): Promise<void> {
  await Promise.all(producers.map((producer, index) => crowd.push(producer, index + 1, producer.maxRounds ?? ROUNDS)));
  await crowd.settled();
  // What comes twice would come before these.
  for (const [index, producer] of producers.entries()) await crowd.push(producer, producers.length + index + 1, 1);
  await crowd.settled();
  await Promise.all(producers.map((producer) => producer.close()));
}

describe('on one Redis', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let nodes: HalleyProcess[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    nodes = await startNodes(redis.url, NODES, { prefix: 'crowd' });
  });
  afterAll(async () => {
    const codes = await stopNodes(nodes);
    await redis.remove();
    expect(codes).toEqual([0, 0, 0]);
  });

  it('every push of ten producers reaches exactly its clients among 6,000 on three nodes, once and in order', async () => {
    const crowd = await Crowd.connect(nodes, { clientCount: 6_000, roomCount: 30 });
    const producers = [
      redisCli(redis.port, 'crowd'),
      msgpackPublisher(new Redis(redis.port, '127.0.0.1', { protocol: 2 }), 'crowd'),
      ...httpDoors(nodes),
      ...cliDoors(nodes),
    ];
    await pushEverything(crowd, producers);
    expect(crowd.faults()).toEqual([]);
    crowd.close();
  }, 90_000);
});

describe('on a Redis Cluster', () => {
  let servers: Awaited<ReturnType<typeof startRedisCluster>>;
  let nodes: HalleyProcess[] = [];
  beforeAll(async () => {
    servers = await startRedisCluster();
    nodes = await startNodes(servers.url, NODES, { prefix: 'slots' });
  });
  afterAll(async () => {
    const codes = await stopNodes(nodes);
    await servers.remove();
    expect(codes).toEqual([0, 0, 0]);
  });

  it('every push of ten producers reaches exactly its clients, once and in order', async () => {
    const crowd = await Crowd.connect(nodes, { clientCount: 300, roomCount: 12 });
    const [first] = servers.servers;
    // One connection to one master: a cluster client publishes by any of them, and between them there is no order.
    const client = new Redis(first!.port, '127.0.0.1', { protocol: 2 });
    const producers = [
      redisCli(first!.port, 'slots', true),
      msgpackPublisher(client, 'slots'),
      ...httpDoors(nodes),
      ...cliDoors(nodes),
    ];
    await pushEverything(crowd, producers);
    expect(crowd.faults()).toEqual([]);
    crowd.close();
  }, 60_000);
});
