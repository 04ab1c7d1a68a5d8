/**
 * Question: what does a push through `POST /goim/push/room` cost the control thread, and how many of them fit in a second?
 * Topology: the API in this process in front of doubles (a pusher that counts, a comet that is never asked), 32 connections
 *   from a client process, each with one request under way (keep-alive) or sixteen (pipelined). Message: 32 bytes. Needs
 *   2 cores: the server is the bottleneck as long as the client has one of its own, so look at CPU per push first.
 * Competitors: node:http and uWebSockets.js bare: read the body, answer the same bytes, with no route, query or check.
 */

import uWS, { type us_listen_socket } from 'uWebSockets.js';
import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { FakeComet, NODE } from '../../src/logic/http/fixtures/api-harness.js';
import type { LoadOrder, LoadReport } from '../../src/logic/http/fixtures/http-load.child.js';
import { HttpApi } from '../../src/logic/index.js';
import { MemorySessions } from '../../src/store/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

declare const HALLEY_ROOT: string;

const HOST = '127.0.0.1';
const CONNECTION_COUNT = 32;
const BODY = '0123456789abcdef0123456789abcdef';
const REPLY_BODY = '{"code":0,"message":""}';
const REPLY_TYPE = 'application/json; charset=utf-8';
const REQUEST = [
  'POST /goim/push/room?operation=1000&type=live&room=1000 HTTP/1.1',
  'Host: 127.0.0.1:3111',
  'User-Agent: http-load/1',
  'Content-Type: application/octet-stream',
  `Content-Length: ${BODY.length}`,
  '',
  BODY,
].join('\r\n');

/** A server under load: where it is, what has come in whole, how to end it. */
interface Subject {
  readonly port: number;
  readonly bodyBytes: () => number;
  readonly close: () => void;
}

async function halley(): Promise<Subject> {
  let bodyBytes = 0;
  const api = new HttpApi({
    pusher: {
      push: ({ target, op, body }) => {
        if (target.kind === 'rooms' && target.rooms[0] === 'live://1000' && op === 1000) bodyBytes += body.byteLength;
        return 'ok';
      },
    },
    comet: new FakeComet(),
    sessions: new MemorySessions(),
    node: NODE,
    probes: [],
    stats: () => ({}),
    onDefect: (error) => {
      throw error;
    },
  });
  const port = await api.listen(HOST, 0);
  return { port, bodyBytes: () => bodyBytes, close: () => api.close() };
}

async function bareNodeHttp(): Promise<Subject> {
  let bodyBytes = 0;
  const headers = ['Content-Type', REPLY_TYPE, 'Content-Length', String(REPLY_BODY.length)];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => {
      bodyBytes += chunk.length;
    });
    request.on('end', () => response.writeHead(200, headers).end(REPLY_BODY));
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port, bodyBytes: () => bodyBytes, close };
}

async function bareUws(): Promise<Subject> {
  let bodyBytes = 0;
  const app = uWS.App().any('/*', (response) => {
    response.onAborted(() => {});
    response.onData((chunk, isLast) => {
      bodyBytes += chunk.byteLength;
      if (isLast) response.cork(() => response.writeHeader('Content-Type', REPLY_TYPE).end(REPLY_BODY));
    });
  });
  const port = await new Promise<number>((resolve) =>
    app.listen(HOST, 0, (socket: us_listen_socket | false) =>
      resolve(socket === false ? 0 : uWS.us_socket_local_port(socket)),
    ),
  );
  return { port, bodyBytes: () => bodyBytes, close: () => app.close() };
}

function nextReport(child: ChildProcess, state: LoadReport['state']): Promise<LoadReport> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the load client ended: code=${code}`)));
    child.on('message', (message) => {
      const report = message as LoadReport;
      if (report.state === state) resolve(report);
    });
  });
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function measure(
  name: string,
  start: () => Promise<Subject>,
  depthCount: number,
  quick: boolean,
): Promise<BenchRow> {
  const subject = await start();
  const child = fork(fileURLToPath(new URL('dist/logic/http/fixtures/http-load.child.js', HALLEY_ROOT)));
  try {
    const order: LoadOrder = {
      port: subject.port,
      request: REQUEST,
      connectionCount: CONNECTION_COUNT,
      depthCount,
      warmUpMs: quick ? 200 : 1000,
      loadMs: quick ? 300 : 3000,
    };
    const warm = nextReport(child, 'warm');
    const done = nextReport(child, 'done');
    child.send(order);
    const before = await warm;
    const startedUs = cpuUs();
    const startedCount = subject.bodyBytes() / BODY.length;
    const startedMs = performance.now();
    const after = await done;
    const elapsedNs = (performance.now() - startedMs) * 1e6;
    const pushCount = subject.bodyBytes() / BODY.length - startedCount;
    const serverUs = (cpuUs() - startedUs) / pushCount;
    const clientUs = (after.cpuUs - before.cpuUs) / (after.replyCount - before.replyCount);
    assertResult(before.problem === '' && after.problem === '', `${name}: ${before.problem}${after.problem}`);
    // Every reply stands for a push that came in whole; those under way at the end have no reply yet.
    const unanswered = subject.bodyBytes() / BODY.length - after.replyCount;
    assertResult(unanswered >= 0 && unanswered <= CONNECTION_COUNT * depthCount, `${name}: a push per reply`);
    return {
      name,
      opsPerSec: (pushCount / elapsedNs) * 1e9,
      nsPerOp: elapsedNs / pushCount,
      ...(depthCount === 1 ? { p50Ns: after.p50Ns, p99Ns: after.p99Ns } : {}),
      note: `server CPU ${serverUs.toFixed(1)} us per push, client ${clientUs.toFixed(1)}`,
    };
  } finally {
    child.removeAllListeners('exit');
    child.kill();
    subject.close();
  }
}

const PIPELINED_COUNT = 16;

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  for (const [label, depthCount] of [
    ['keep-alive', 1],
    [`pipelined ${PIPELINED_COUNT}`, PIPELINED_COUNT],
  ] as const) {
    rows.push(await measure(`HTTP API, ${label}`, halley, depthCount, quick));
    rows.push(await measure(`bare node:http, ${label}`, bareNodeHttp, depthCount, quick));
    rows.push(await measure(`bare uWebSockets.js, ${label}`, bareUws, depthCount, quick));
  }
  return {
    title: 'logic: pushes through the HTTP API',
    topology: `${CONNECTION_COUNT} connections from a client process, ${BODY.length}-byte messages, one server thread; 2 cores`,
    rows,
  };
}
