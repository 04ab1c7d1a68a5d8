import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from '../../../test/kit/index.js';
import { systemClock } from '../../clock/index.js';
import type { EventBatch } from '../../push/index.js';
import { eventOf } from './fixtures/upstream-parts.js';
import { type WebhookOptions, WebhookSink } from './webhook-sink.js';

const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const BATCH: EventBatch = { deliveryId: '77', batchNo: 1, lane: 0, attempt: 3, events: [eventOf(77), eventOf(78)] };
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(listener: RequestListener): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?tenant=1`, server };
}

function sinkTo(url: string, overrides: Partial<WebhookOptions> = {}): WebhookSink {
  const sink = new WebhookSink(
    {
      ...{ url, secret: SECRET, timeoutMs: 5_000, maxSockets: 2, serverId: 'node-a', nodeEpoch: () => 4 },
      userAgent: 'halley/test',
      ...overrides,
    },
    systemClock,
  );
  cleanups.push(() => sink.close());
  return sink;
}

describe('a webhook', () => {
  it('gets one signed POST with the whole batch', async () => {
    const seen: { headers: Record<string, unknown>; body: string; method: string; url: string }[] = [];
    const { url } = await serve(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { headers, method = '', url: path = '' } = request;
      seen.push({ headers, method, url: path, body: Buffer.concat(chunks).toString() });
      response.writeHead(200).end('thanks');
    });
    expect(await sinkTo(url).send(BATCH)).toEqual({ kind: 'sent' });
    const [request] = seen;
    expect(request).toMatchObject({ method: 'POST', url: '/hook?tenant=1' });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      server_id: 'node-a',
      node_epoch: 4,
      events: BATCH.events.map(({ json }) => JSON.parse(json) as unknown),
    });
    const headers = request?.headers ?? {};
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'halley-delivery': '77',
      'halley-attempt': '3',
    });
    const [, t = '', mac] = /^t=(\d+),v1=(\w+)$/.exec(String(headers['halley-signature'])) ?? [];
    expect(mac).toBe(createHmac('sha256', SECRET).update(`${t}.${request?.body}`).digest('hex'));
    expect(Math.abs(Number(t) - Date.now() / 1000)).toBeLessThan(60);
  });

  it('keeps its connection from request to request', async () => {
    const { url, server } = await serve((request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(204).end());
    });
    let connections = 0;
    server.on('connection', () => {
      connections += 1;
    });
    const sink = sinkTo(url);
    for (let i = 0; i < 5; i++) expect(await sink.send(BATCH)).toEqual({ kind: 'sent' });
    expect(connections).toBe(1);
  });

  it.each([
    [500, {}, { kind: 'retry', afterMs: 0, cause: 'status 500' }],
    [503, { 'retry-after': '7' }, { kind: 'retry', afterMs: 7_000, cause: 'status 503' }],
    [429, { 'retry-after': '2' }, { kind: 'retry', afterMs: 2_000, cause: 'status 429' }],
    [429, {}, { kind: 'retry', afterMs: 0, cause: 'status 429' }],
    [400, {}, { kind: 'dead', cause: 'status 400' }],
    [404, { 'retry-after': '7' }, { kind: 'dead', cause: 'status 404' }],
    [302, { location: 'http://127.0.0.1:1/' }, { kind: 'dead', cause: 'status 302' }],
    [201, {}, { kind: 'sent' }],
  ])('that answers %i with %o is told apart', async (status, headers, verdict) => {
    const { url } = await serve((request, response) => {
      request.resume();
      response.writeHead(status, headers).end();
    });
    expect(await sinkTo(url).send(BATCH)).toEqual(verdict);
  });

  it('that does not answer, or not to the end, is given up after the timeout', async () => {
    const hanging = await serve((request) => void request.resume());
    const sink = sinkTo(hanging.url, { timeoutMs: 50 });
    expect(await sink.send(BATCH)).toEqual({ kind: 'retry', afterMs: 0, cause: 'no answer within 50 ms' });
    const dripping = await serve((request, response) => {
      request.resume();
      response.writeHead(200).write('x');
    });
    expect(await sinkTo(dripping.url, { timeoutMs: 1_000 }).send(BATCH)).toEqual({ kind: 'sent' });
  });

  it('whose answer is endless is read no further than a bound', async () => {
    const { url } = await serve((request, response) => {
      request.resume();
      response.writeHead(200);
      const more = () => {
        if (response.destroyed) return;
        response.write(Buffer.alloc(16_384));
        setImmediate(more);
      };
      more();
    });
    expect(await sinkTo(url).send(BATCH)).toEqual({ kind: 'sent' });
  });

  it('that is not there, or hangs up, is tried again', async () => {
    const port = await freePort();
    expect(await sinkTo(`http://127.0.0.1:${port}/`).send(BATCH)).toEqual({
      ...{ kind: 'retry', afterMs: 0, cause: 'ECONNREFUSED' },
    });
    const rude = createTcpServer((socket) => socket.once('data', () => socket.resetAndDestroy())).listen(
      0,
      '127.0.0.1',
    );
    await once(rude, 'listening');
    cleanups.push(() => rude.close());
    const url = `http://127.0.0.1:${(rude.address() as AddressInfo).port}/`;
    expect(await sinkTo(url).send(BATCH)).toMatchObject({ kind: 'retry' });
  });

  it('is cut off by close', async () => {
    const { url } = await serve((request) => void request.resume());
    const sink = sinkTo(url);
    const sending = sink.send(BATCH);
    sink.close();
    expect(await sending).toMatchObject({ kind: 'retry' });
    expect(await sink.send(BATCH)).toMatchObject({ kind: 'retry', cause: 'closed' });
  });

  it('must be http or https; the error does not show the URL', () => {
    for (const url of ['ftp://user:pw@example.com/', 'no url', 'file:///etc/passwd']) {
      expect(() => sinkTo(url)).toThrow('the webhook must be an http:// or https:// URL');
    }
  });
});
