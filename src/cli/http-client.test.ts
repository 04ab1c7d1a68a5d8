import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HalleyError } from '../errors/index.js';
import { HttpClient } from './http-client.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function answering(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Handler {
  return (_, response) => void response.writeHead(status, headers).end(text);
}

const COUNT = z.looseObject({ count: z.number() });
const BODY = { mediaType: 'application/json', bytes: '{}' };

async function errorOf(answer: Promise<unknown>): Promise<HalleyError> {
  const error = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof HalleyError) return error;
  throw new Error(`expected a HalleyError: ${String(error)}`);
}

async function get(handler: Handler, token = ''): Promise<HalleyError> {
  return errorOf(new HttpClient({ url: await listen(handler), token }, 2_000).get('/x?secret=1', COUNT));
}

describe('HttpClient', () => {
  it('sends token, type and bytes, and answers with the data, members it does not know included', async () => {
    const seen: unknown[] = [];
    const url = await listen((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { authorization, 'content-type': type, 'content-length': length } = request.headers;
        seen.push([request.method, request.url, authorization, type, length, Buffer.concat(chunks).toString('hex')]);
        response.end('{"code":0,"message":"","data":{"count":3,"new":true}}');
      });
    });
    const client = new HttpClient({ url: `${url}/base`, token: 'abc' });
    const bytes = Uint8Array.from([0, 255, 128]);
    expect(await client.post('/push?a=b', { mediaType: 'application/msgpack', bytes }, COUNT)).toEqual({
      count: 3,
      new: true,
    });
    expect(await new HttpClient({ url, token: '' }).get('/x', COUNT)).toEqual({ count: 3, new: true });
    expect(seen).toEqual([
      ['POST', '/base/push?a=b', 'Bearer abc', 'application/msgpack', '3', '00ff80'],
      ['GET', '/x', undefined, undefined, undefined, ''],
    ]);
  });

  it("tells the server's refusal with its code, and when to try again", async () => {
    const error = await get(answering(503, '{"code":-503,"message":"the queue is full"}', { 'Retry-After': '1' }));
    expect([error.code, error.message.replace(/url="[^"]*"/, 'url')]).toEqual([
      'API_REFUSED',
      'the queue is full (try again in 1 s): url code=-503',
    ]);
    expect((await get(answering(200, '{"code":-400,"message":""}'))).message).toMatch(/^the node refuses this: /);
  });

  it('says of a 401 what to set, by whether there was a token', async () => {
    const refusal = answering(401, '{"code":-401,"message":"no"}');
    expect((await get(refusal)).message).toContain('the API wants a token: set HALLEY_HTTP_TOKEN');
    expect((await get(refusal, 'abc')).message).toContain('the API token is wrong');
  });

  it.each([
    [404, '404 page not found'],
    [200, '<html>'],
    [200, '{"ready":true}'],
    [200, 'null'],
    [307, ''],
  ])('takes status %i with %j for another program, and does not show the query', async (status, text) => {
    const error = await get(answering(status, text, { Location: 'http://127.0.0.1:1/' }));
    expect(error.code).toBe('API_REFUSED');
    expect(error.message).toContain(`path="/x" status=${status}`);
  });

  it.each([502, 503, 504])('takes a bare %i for a proxy without a node', async (status) => {
    expect((await get(answering(status, '<html>Bad Gateway</html>'))).code).toBe('API_UNREACHABLE');
  });

  it('refuses an answer of another shape instead of printing nonsense', async () => {
    const error = await get(answering(200, '{"code":0,"message":"","data":{"count":"3"}}'));
    expect([error.code, error.message]).toEqual(['API_REFUSED', expect.stringContaining('should be of one version')]);
  });

  it('ends a wait at its deadline, before an answer and in the middle of one, and says what is not known', async () => {
    const silent = await listen(() => {});
    const stuck = await listen((_, response) => void response.writeHead(200).write('{"code":'));
    for (const url of [silent, stuck]) {
      const client = new HttpClient({ url, token: '' }, 100);
      const [got, posted] = [await errorOf(client.get('/x', COUNT)), await errorOf(client.post('/x', BODY, COUNT))];
      expect([got.code, posted.code]).toEqual(['API_UNREACHABLE', 'API_UNREACHABLE']);
      expect(got.message).toMatch(/^the node did not answer in time: .* deadlineMs=100$/);
      expect(posted.message).toMatch(/^the node did not answer in time, whether it has done this is not known: /);
    }
  });

  it('says that nobody answers where a connection is refused or reset', async () => {
    const reset = await listen((request) => request.socket.destroy());
    expect((await errorOf(new HttpClient({ url: reset, token: '' }).get('/x', COUNT))).message).toContain('ECONNRESET');
    const refused = new HttpClient({ url: 'http://127.0.0.1:1', token: '' });
    expect((await errorOf(refused.get('/x', COUNT))).message).toMatch(/is the node up .*reason="ECONNREFUSED"$/);
  });
});
