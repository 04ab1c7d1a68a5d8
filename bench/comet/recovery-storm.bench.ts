/**
 * What does a reconnect storm cost, and whom else? All channels of one room lose the connection, messages are pushed meanwhile,
 * all come back and recover (op 23) at once.
 *
 * Topology: one node (`dist/main.js`) with 2 buckets in its own process; the clients in this one; a prober on a thread of its own
 * that pushes to another room of the same node every 20 ms and times the delivery. Plain Node 20, 2 cores or more, loopback.
 * Message: 200 B bodies, 500 missed (112 KiB an answer). Competitor: an earlier build, with BENCH_DIST=/path/to/dist/main.js.
 * Right before it reports: every client got an answer that holds all messages, once and in order (their first and last offsets and
 * their count). The CPU is the server's alone (/proc/<pid>/stat).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Redis } from 'ioredis';
import WebSocket from 'ws';
import { encodePacket, encodeRecover } from '../../src/protocol/index.js';
import { type RedisServer, startRedis } from '../../test/kit/redis-server.js';
import { assertResult, type BenchResult, type BenchRow, type RunBench } from '../bench.js';

declare const HALLEY_ROOT: string;

const ROOM = 'live://storm';
const MISSED_COUNT = 500;
const BODY_BYTES = 200;
const TICKS_PER_SEC = 100;
const CONNECT_AT_ONCE = 200;

interface Node {
  readonly child: ChildProcess;
  readonly wsUrl: string;
  readonly httpUrl: string;
}

async function startNode(dataDir: string, redisUrl: string | undefined): Promise<Node> {
  const main = process.env.BENCH_DIST ?? new URL('dist/main.js', HALLEY_ROOT).pathname;
  const args = ['--data-dir', dataDir, '--ws-port', '0', '--tcp-port', '0', '--http-port', '0', '--buckets', '2'];
  if (redisUrl !== undefined) args.push('--redis', redisUrl);
  const env = {
    ...process.env,
    HALLEY_HISTORY_ROOMS: 'live:1000:600',
    HALLEY_LOG_LEVEL: 'warn',
    ...loopDelayEnv(dataDir),
  };
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  if (process.getuid?.() === 0) setPriority(child.pid!, 0);
  let output = '';
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error(`the node did not start: ${output}`)));
    child.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const ws = /WebSocket +(wss?:\S+)/.exec(output)?.[1];
      const http = /HTTP API +(https?:\S+)/.exec(output)?.[1];
      if (ws === undefined || http === undefined) return;
      resolve({ child, wsUrl: ws, httpUrl: http.replace(/\/$/, '') });
    });
  });
}

async function stopNode({ child }: Node): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}

function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SEC;
}

function rssMibOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** The node's threads write how long their loops were held. */
function loopDelayEnv(dataDir: string): Record<string, string> {
  const preload = new URL('bench/comet/loop-delay.preload.cjs', HALLEY_ROOT).pathname;
  return { NODE_OPTIONS: `--require ${preload}`, BENCH_LOOP_FILE: join(dataDir, 'loops') };
}

/** The longest that any loop was held since `fromLine`, of the control thread and of the buckets. */
function loopsOf(dataDir: string, fromLine: number): { lines: number; controlMs: number; bucketMs: number } {
  let [controlMs, bucketMs] = [0, 0];
  const lines = readFileSync(join(dataDir, 'loops'), 'utf8').trim().split('\n');
  for (const line of lines.slice(fromLine)) {
    const [thread, maxMs] = line.split(' ').map(Number);
    if (thread === 0) controlMs = Math.max(controlMs, maxMs!);
    else bucketMs = Math.max(bucketMs, maxMs!);
  }
  return { lines: lines.length, controlMs, bucketMs };
}

class StormClient {
  epoch = 0;
  offset = 0;
  #socket: WebSocket | undefined;
  #onWelcome: (() => void) | undefined;
  #onAnswer: ((packet: Buffer) => void) | undefined;

  connect(url: string, no: number): Promise<void> {
    const socket = new WebSocket(url, { perMessageDeflate: false, skipUTF8Validation: true });
    this.#socket = socket;
    const body = JSON.stringify({ mid: 1 + no, key: `storm-${no}`, room_id: ROOM, accepts: [1000], halley: 1 });
    socket.on('open', () => socket.send(encodePacket(7, 1, 1, Buffer.from(body))));
    socket.on('message', (data: Buffer) => this.#read(data));
    return new Promise((resolve, reject) => {
      socket.on('error', reject);
      this.#onWelcome = resolve;
    });
  }

  #read(data: Buffer): void {
    const op = data.readInt32BE(8);
    if (op === 8) {
      const [row] = (JSON.parse(data.subarray(16, data.readInt32BE(0)).toString()) as Welcome).rooms;
      if (this.epoch === 0) {
        this.epoch = row!.epoch;
        this.offset = row!.offset;
      }
      this.#onWelcome?.();
    } else if (op === 24) this.#onAnswer?.(data);
  }

  recover(): Promise<Buffer> {
    const { epoch, offset } = this;
    this.#socket!.send(encodePacket(23, 2, 1, encodeRecover('json', { room: ROOM, epoch, offset })));
    return new Promise((resolve) => {
      this.#onAnswer = resolve;
    });
  }

  end(): Promise<void> {
    const socket = this.#socket!;
    return new Promise((resolve) => {
      socket.once('close', () => resolve());
      socket.terminate();
    });
  }
}

interface Welcome {
  readonly rooms: readonly { readonly epoch: number; readonly offset: number }[];
}

/** Pushes to a room of its own and says how long each took to come back. */
function probeThread(node: Node): { stop: () => Promise<number[]> } {
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    const WebSocket = require(workerData.ws);
    const delays = [];
    let isOver = false;
    const socket = new WebSocket(workerData.wsUrl);
    const packet = (op, body) => {
      const bytes = Buffer.alloc(16 + body.length);
      bytes.writeInt32BE(bytes.length, 0); bytes.writeInt16BE(16, 4); bytes.writeInt16BE(1, 6);
      bytes.writeInt32BE(op, 8); bytes.writeInt32BE(1, 12); bytes.set(body, 16);
      return bytes;
    };
    socket.on('open', () => socket.send(packet(7, Buffer.from(JSON.stringify(
      { mid: 9, key: 'probe', room_id: 'chat://probe', accepts: [1000], halley: 1 })))));
    let onPush;
    socket.on('message', (data) => {
      if (data.readInt32BE(8) === 26) onPush?.();
      else if (data.readInt32BE(8) === 8) void run();
    });
    parentPort.on('message', () => { isOver = true; });
    async function run() {
      while (!isOver) {
        const sentAt = performance.now();
        const came = new Promise((resolve) => { onPush = resolve; });
        await fetch(workerData.httpUrl + '/goim/push/room?operation=1000&type=chat&room=probe', { method: 'POST', body: 'x' });
        await came;
        delays.push(performance.now() - sentAt);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      socket.terminate();
      parentPort.postMessage(delays);
      process.exitCode = 0;
    }`;
  const ws = new URL('node_modules/ws/index.js', HALLEY_ROOT).pathname;
  const worker = new Worker(code, { eval: true, workerData: { ws, wsUrl: node.wsUrl, httpUrl: node.httpUrl } });
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        worker.once('error', reject);
        worker.once('message', (delays: number[]) => {
          resolve(delays);
          void worker.terminate();
        });
        worker.postMessage('stop');
      }),
  };
}

const percentile = (sorted: readonly number[], ratio: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * ratio))] ?? 0;

async function inPortions(clients: readonly StormClient[], act: (client: StormClient, no: number) => Promise<void>) {
  for (let first = 0; first < clients.length; first += CONNECT_AT_ONCE) {
    await Promise.all(clients.slice(first, first + CONNECT_AT_ONCE).map((client, index) => act(client, first + index)));
  }
}

async function storm(name: string, clientCount: number, withRedis = false, isAnew = false): Promise<BenchRow> {
  const dataDir = mkdtempSync(join(tmpdir(), 'halley-storm-'));
  const redis = withRedis ? await startRedis() : undefined;
  let node = await startNode(dataDir, redis?.url);
  try {
    const clients = Array.from({ length: clientCount }, () => new StormClient());
    await inPortions(clients, (client, no) => client.connect(node.wsUrl, no));
    await inPortions(clients, (client) => client.end());
    const body = 'm'.repeat(BODY_BYTES);
    for (let no = 0; no < MISSED_COUNT; no++) {
      const url = `${node.httpUrl}/goim/push/room?operation=1000&type=live&room=storm`;
      // 503: nobody got it.
      for (let tryNo = 1; !(await fetch(url, { method: 'POST', body })).ok; tryNo++) {
        assertResult(tryNo < 100, 'a push was taken');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    if (isAnew) {
      await stopNode(node);
      node = await startNode(dataDir, redis?.url);
    }
    const pid = node.child.pid!;
    await inPortions(clients, (client, no) => client.connect(node.wsUrl, no));
    const idleProbe = probeThread(node);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const idle = (await idleProbe.stop()).sort((a, b) => a - b);
    const before = loopsOf(dataDir, 0).lines;
    const probe = probeThread(node);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const rangesBefore = redis === undefined ? 0 : await scriptsOf(redis);
    const cpuBeforeMs = cpuMsOf(pid);
    const startMs = performance.now();
    let bytes = 0;
    let peakRssMib = 0;
    const sampling = setInterval(() => {
      peakRssMib = Math.max(peakRssMib, rssMibOf(pid));
    }, 50);
    const tookMs = await Promise.all(
      clients.map(async (client) => {
        const packet = await client.recover();
        bytes += packet.length;
        checkAnswer(packet, client.offset);
        return performance.now() - startMs;
      }),
    );
    clearInterval(sampling);
    const cpuMs = cpuMsOf(pid) - cpuBeforeMs;
    const delays = (await probe.stop()).sort((a, b) => a - b);
    tookMs.sort((a, b) => a - b);
    const loops = loopsOf(dataDir, before);
    const held = `loops held at most: control ${loops.controlMs.toFixed(1)}, buckets ${loops.bucketMs.toFixed(1)} ms`;
    const asked =
      redis === undefined ? '' : `, scripts run by Redis meanwhile ${(await scriptsOf(redis)) - rangesBefore}`;
    const probed = `other room p50 ${percentile(delays, 0.5).toFixed(1)} max ${delays.at(-1)!.toFixed(1)} ms (idle max ${idle.at(-1)!.toFixed(1)})`;
    const nsPerOp = (cpuMs * 1e6) / clientCount;
    await inPortions(clients, (client) => client.end());
    return {
      name,
      nsPerOp,
      opsPerSec: (clientCount * 1000) / tookMs.at(-1)!,
      p50Ns: percentile(tookMs, 0.5) * 1e6,
      p99Ns: percentile(tookMs, 0.99) * 1e6,
      bytesPerOp: bytes / clientCount,
      note: `CPU of the server per recovery; ${Math.round(bytes / clientCount)} B each, peak RSS ${Math.round(peakRssMib)} MiB, ${held}, ${probed}${asked}`,
    };
  } finally {
    await stopNode(node);
    await redis?.remove();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Everything behind `offset`: one batch whose messages are walked. */
function checkAnswer(packet: Buffer, offset: number): void {
  const inner = packet.subarray(16);
  assertResult(inner.length > 0 && inner[0] === 0, 'recovered, not refused');
  let at = 16;
  const roomBytes = inner.readUInt16BE(at);
  at += 2 + roomBytes + 8;
  assertResult(Number(inner.readBigUInt64BE(at)) === offset + 1, 'the answer begins behind the last message');
  at += 8;
  let count = 0;
  for (; at < inner.length; count++) at += 8 + inner.readInt32BE(at + 8);
  assertResult(at === inner.length && count === MISSED_COUNT, `all messages are there: ${count}`);
}

/** Renewed leases are scripts, too: some are run whatever the clients do. */
async function scriptsOf({ port }: RedisServer): Promise<number> {
  const redis = new Redis(port, '127.0.0.1');
  const stats = await redis.info('commandstats');
  redis.disconnect();
  return ['eval', 'evalsha'].reduce(
    (sum, command) => sum + Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0),
    0,
  );
}

export const run: RunBench = async ({ quick }): Promise<BenchResult> => {
  // The clients' work must not be taken for the node's: where both want a core, the node has it.
  setPriority(15);
  const clientCount = Number(process.env.BENCH_CLIENTS ?? (quick ? 300 : 9_000));
  return {
    title: 'reconnect storm',
    topology: `1 node, 2 buckets, ${clientCount} clients in another process, ${MISSED_COUNT} missed messages of ${BODY_BYTES} B`,
    rows: [
      await storm('standalone', clientCount),
      await storm('over Redis', clientCount, true),
      await storm('over Redis, on a node just started', clientCount, true, true),
    ],
  };
};
