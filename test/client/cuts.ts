/**
 * One client whose network is cut at random while its room is pushed to; every message of it must come once and in order, or the
 * client must have been told that it is missing.
 */
import WebSocket from 'ws';
import { HalleyClient } from '../../src/client/index.js';
import { startNodes, stopNodes } from '../cluster/nodes.js';
import { eventually, type HalleyProcess, post, startHalley, startRedis } from '../kit/index.js';
import { type Cutter, startCutter } from './cutter.js';

export interface CutsResult {
  readonly publishedCount: number;
  readonly deliveredCount: number;
  readonly toldMissingCount: number;
  readonly recoveredCount: number;
  readonly reconnectCount: number;
  /** Reconnects that ended on another node than the connection before. */
  readonly crossingCount: number;
  /** What contradicts the promise; empty: nothing. */
  readonly problems: readonly string[];
}

/** 0: whoever is cut comes back by its own backoff, as often as the test wants. */
const ENV = { HALLEY_LOG_LEVEL: 'warn', HALLEY_RECONNECT_WINDOW_MS: '0' };

interface CutNodes {
  readonly nodes: readonly HalleyProcess[];
  stop(): Promise<void>;
}

/** One node with its history in memory. @param history `live:400:600` */
export async function oneNode(history: string): Promise<CutNodes> {
  const halley = await startHalley({ env: { ...ENV, HALLEY_HISTORY_ROOMS: history } });
  return { nodes: [halley], stop: async () => void (await halley.stop()) };
}

/** Two nodes with their history in a Redis of their own. */
export async function twoNodes(history: string): Promise<CutNodes> {
  const redis = await startRedis();
  const nodes = await startNodes(redis.url, 2, { prefix: 'sdkcuts', env: { ...ENV, HALLEY_HISTORY_ROOMS: history } });
  return {
    nodes,
    stop: async () => {
      await stopNodes(nodes);
      await redis.remove();
    },
  };
}

export async function runCuts(start: () => Promise<CutNodes>, cutCount: number, seed: number): Promise<CutsResult> {
  const { nodes, stop } = await start();
  const cutters = await Promise.all(nodes.map(({ wsPort }) => startCutter(wsPort)));
  const random = randomOf(seed);
  const room = 'live://cuts';
  // Somebody stays, so that the room and its history live on.
  const anchor = new HalleyClient({ nodes: [nodes[0]!.wsUrl], WebSocket, mid: 1, rooms: [room] });
  const client = new HalleyClient({
    nodes: cutters.map(({ wsUrl }) => wsUrl),
    WebSocket,
    mid: 2,
    rooms: [room],
    backoff: { baseMs: 20, capMs: 150 },
    random,
  });
  const problems: string[] = [];
  let next = 1;
  let deliveredCount = 0;
  let toldMissingCount = 0;
  let recoveredCount = 0;
  let openCount = 0;
  let crossingCount = 0;
  let current = '';
  let isDone = false;
  try {
    client.on('message', ({ offset, body }) => {
      if (offset !== next) problems.push(`offset ${offset} came where ${next} was due`);
      if (body.text() !== String(offset)) problems.push(`offset ${offset} holds ${body.text()}`);
      deliveredCount += 1;
      next = (offset ?? 0) + 1;
    });
    client.on('gap', ({ from = 0, to = 0, isNewEpoch }) => {
      if (from !== next || to < from || isNewEpoch === true)
        problems.push(`a gap from ${from} to ${to} where ${next} was due`);
      toldMissingCount += to - from + 1;
      next = to + 1;
    });
    client.on('recovered', ({ messageCount }) => {
      recoveredCount += messageCount;
    });
    client.on('error', (error) => problems.push(String(error)));
    client.on('open', ({ address }) => {
      openCount += 1;
      if (current !== '' && address !== current) crossingCount += 1;
      current = address;
    });
    await Promise.all([anchor.connect(), client.connect()]);

    let publishedCount = 0;
    const publishing = (async () => {
      // 100 per second, in order, one command each.
      for (const startMs = performance.now(); !isDone; ) {
        const dueCount = Math.floor((performance.now() - startMs) / 10);
        const commands = [];
        while (publishedCount < dueCount && commands.length < 500) {
          publishedCount += 1;
          commands.push({ room, op: 1000, body: String(publishedCount) });
        }
        if (commands.length > 0) await post(`${nodes[0]!.httpUrl}/halley/push/batch`, commands);
        await delay(10);
      }
    })();
    for (let cut = 0; cut < cutCount; cut++) {
      await delay(20 + random() * 150);
      // The node that the client is on; between two, what follows ends on either.
      await cutOnce(cutters.find(({ wsUrl }) => wsUrl === current) ?? cutters[0]!, random);
    }
    isDone = true;
    await publishing;
    await eventually(() => next > publishedCount, 20_000, `everything accounted for, ${next - 1} of ${publishedCount}`);
    if (deliveredCount + toldMissingCount !== publishedCount) {
      problems.push(`${publishedCount} published, ${deliveredCount} delivered, ${toldMissingCount} told missing`);
    }
    return {
      publishedCount,
      deliveredCount,
      toldMissingCount,
      recoveredCount,
      reconnectCount: openCount - 1,
      crossingCount,
      problems,
    };
  } finally {
    isDone = true;
    client.close();
    anchor.close();
    await Promise.all(cutters.map((cutter) => cutter.close()));
    await stop();
  }
}

/** Some cuts last, some hit the moment in which the client is coming back, some are noticed late. */
async function cutOnce(cutter: Cutter, random: () => number): Promise<void> {
  const kind = random();
  if (kind < 0.4) cutter.cut();
  else if (kind < 0.8) {
    cutter.refuse();
    await delay(random() * 200);
    cutter.accept();
  } else {
    cutter.hold();
    await delay(random() * 100);
    cutter.cut();
  }
}

function delay(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** mulberry32: the same cuts for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
