/**
 * The HTTP fallbacks of a comet as a program of its own, in front of a node's WebSocket: `/sub/connect`, `send`, `sse`, `poll`,
 * `close`, by the wire that server and SDK are built to. What comes from the node is numbered and kept until it is acknowledged.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import WebSocket from 'ws';
import { encodePacket, OP, readInt32 } from '../../src/protocol/index.js';

export interface HttpFront {
  /** As a node's address. */
  readonly wsUrl: string;
  readonly sessionCount: number;
  /** Requests by path since the start: `/sub/poll`. */
  readonly requestCounts: ReadonlyMap<string, number>;
  /** End every stream and poll that is open, not the sessions. */
  cutStreams(): void;
  /** From here on SSE streams say nothing: a proxy holds them back. */
  holdStreams(): void;
  close(): Promise<void>;
}

interface Session {
  readonly socket: WebSocket;
  readonly kept: { readonly cursor: number; readonly bytes: Buffer }[];
  cursor: number;
  closed: string | undefined;
  /** Called when there is something new. */
  wake: () => void;
}

export async function startHttpFront(nodeUrl: string): Promise<HttpFront> {
  const sessions = new Map<string, Session>();
  const requestCounts = new Map<string, number>();
  const open = new Set<ServerResponse>();
  let isHeld = false;
  let sessionCount = 0;

  const connect = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await bodyOf(request);
    const socket = new WebSocket(nodeUrl, { perMessageDeflate: false });
    const session: Session = { socket, kept: [], cursor: 0, closed: undefined, wake: () => {} };
    let advice: string | undefined;
    const decided = new Promise<boolean>((resolve) => {
      socket.on('open', () => socket.send(encodePacket(OP.AUTH, 0, 1, body)));
      socket.on('message', (data: Buffer) => {
        const op = readInt32(data, 8);
        if (op === OP.DISCONNECT) {
          advice = data.subarray(16).toString();
          return;
        }
        session.cursor += 1;
        session.kept.push({ cursor: session.cursor, bytes: data });
        if (op === OP.AUTH_REPLY) resolve(true);
        session.wake();
      });
      socket.on('error', () => {});
      socket.on('close', (code, reason) => {
        // Before auth is read the node says it by the close code alone.
        advice ??= JSON.stringify({ code, reason: String(reason), reconnect: code < 3500, retry_after_ms: 0 });
        session.closed = advice;
        resolve(false);
        session.wake();
      });
    });
    if (!(await decided)) {
      response.writeHead(503, { 'content-type': 'application/json' }).end(advice);
      return;
    }
    sessionCount += 1;
    const token = `session ${sessionCount}/+`;
    sessions.set(token, session);
    response.writeHead(200).end(JSON.stringify({ session: token }));
  };

  const sse = (session: Session, cursor: number, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': here\n\n');
    let sent = cursor;
    const flush = () => {
      if (isHeld) return;
      for (const { cursor: id, bytes } of session.kept) {
        if (id <= sent) continue;
        sent = id;
        response.write(`id: ${id}\ndata: ${bytes.toString('base64')}\n\n`);
      }
      if (session.closed !== undefined) response.end(`event: close\ndata: ${session.closed}\n\n`);
    };
    session.wake = flush;
    flush();
  };

  const poll = async (session: Session, cursor: number, waitMs: number, response: ServerResponse) => {
    const news = () => session.kept.filter((one) => one.cursor > cursor);
    if (news().length === 0 && session.closed === undefined) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        session.wake = () => {
          clearTimeout(timer);
          resolve();
        };
        response.once('close', session.wake);
      });
    }
    const found = news();
    if (found.length > 0) {
      response.writeHead(200, { 'Halley-Cursor': String(found.at(-1)!.cursor) });
      response.end(Buffer.concat(found.map(({ bytes }) => bytes)));
    } else if (session.closed !== undefined) {
      response.writeHead(410, { 'content-type': 'application/json' }).end(session.closed);
    } else response.writeHead(204).end();
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', 'http://front');
    requestCounts.set(url.pathname, (requestCounts.get(url.pathname) ?? 0) + 1);
    open.add(response);
    response.once('close', () => open.delete(response));
    if (url.pathname === '/sub/connect') {
      await connect(request, response);
      return;
    }
    const token = url.searchParams.get('session') ?? '';
    const session = sessions.get(token);
    if (session === undefined) {
      response.writeHead(410).end('{"code":3001,"reason":"no such session","reconnect":true,"retry_after_ms":0}');
      return;
    }
    const cursor = Number(url.searchParams.get('cursor') ?? 0);
    while ((session.kept[0]?.cursor ?? Number.POSITIVE_INFINITY) <= cursor) session.kept.shift();
    switch (url.pathname) {
      case '/sub/send':
        session.socket.send(await bodyOf(request));
        response.writeHead(204).end();
        return;
      case '/sub/sse':
        sse(session, cursor, response);
        return;
      case '/sub/poll':
        await poll(session, cursor, Number(url.searchParams.get('wait_ms')), response);
        return;
      case '/sub/close':
        sessions.delete(token);
        session.socket.close();
        response.writeHead(204).end();
        return;
      default:
        response.writeHead(404).end();
    }
  });
  // A WebSocket does not get through here.
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/sub`,
    get sessionCount() {
      return sessions.size;
    },
    requestCounts,
    cutStreams: () => {
      for (const response of open) response.destroy();
    },
    holdStreams: () => {
      isHeld = true;
    },
    close: async () => {
      for (const { socket } of sessions.values()) socket.terminate();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
