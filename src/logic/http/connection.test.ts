/**
 * What clients do to a connection that no client library would do: split, half-sent, too large, aborted, pipelined.
 */
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ApiHarness, eventually, HOST, type RawSocket, wire } from './fixtures/api-harness.js';
import type { HttpApiDeps } from './http-api.js';

const KEYS = '/goim/push/keys?keys=a';
const open: ApiHarness[] = [];
afterEach(() => {
  for (const api of open.splice(0)) api.api.close();
});

async function start(overrides: Partial<HttpApiDeps> = {}): Promise<ApiHarness> {
  const api = await new ApiHarness(overrides).start();
  open.push(api);
  return api;
}
const bodies = (api: ApiHarness) => api.pusher.commands.map((one) => Buffer.from(one.body).toString());

describe('a request', () => {
  // uWS answers 505 to a request line in several reads (see exchange.ts), so both begin with a whole one.
  const requestLine = `POST ${KEYS} HTTP/1.1\r\n`;

  it('may come split at every byte behind its first line', async () => {
    const api = await start();
    const text = wire('POST', KEYS, 'hello');
    const halves: { raw: RawSocket; rest: string }[] = [];
    for (let at = requestLine.length; at < text.length; at++) {
      const raw = await api.connect();
      await raw.send(text.slice(0, at));
      halves.push({ raw, rest: text.slice(at) });
    }
    for (const { raw, rest } of halves) {
      await raw.send(rest);
      expect(await raw.replies(1)).toContain('200 OK');
      raw.socket.destroy();
    }
    expect(bodies(api)).toEqual(halves.map(() => 'hello'));
  });

  it('may drip in byte by byte', async () => {
    const api = await start();
    const raw = await api.connect();
    await raw.send(requestLine);
    for (const char of wire('POST', KEYS, 'slow body').slice(requestLine.length)) {
      await raw.send(char);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await raw.replies(1)).toContain('{"code":0,"message":""}');
    expect(bodies(api)).toEqual(['slow body']);
    raw.socket.destroy();
  });

  it('may be chunked', async () => {
    const api = await start();
    const raw = await api.connect();
    await raw.send(`POST ${KEYS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`);
    await raw.send('4\r\ndefg\r\n0\r\n\r\n');
    expect(await raw.replies(1)).toContain('200 OK');
    expect(bodies(api)).toEqual(['abcdefg']);
    raw.socket.destroy();
  });

  it('may be pipelined: all are answered, in their order', async () => {
    const api = await start();
    const raw = await api.connect();
    const requests = Array.from({ length: 50 }, (_, index) => wire('POST', KEYS, `${index}`));
    await raw.send(requests.join('') + wire('GET', '/goim/online/total'));
    const replies = await raw.replies(51);
    expect(bodies(api)).toEqual(requests.map((_, index) => `${index}`));
    expect(replies.indexOf('conn_count')).toBeGreaterThan(replies.lastIndexOf('{"code":0,"message":""}'));
    raw.socket.destroy();
  });

  it('waits behind one whose handler answers later', async () => {
    const api = await start();
    let finish = (_count: number) => {};
    api.comet.answer = () => new Promise((resolve) => (finish = resolve));
    const raw = await api.connect();
    await raw.send(wire('POST', '/halley/disconnect', '{"keys":["a"]}'));
    await eventually(() => api.comet.calls.length === 1, 'the handler runs');
    await raw.send(wire('GET', '/goim/online/total'));
    finish(3);
    const replies = await raw.replies(2);
    expect(replies.indexOf('"count":3')).toBeLessThan(replies.indexOf('conn_count'));
    expect(replies).toContain('conn_count');
    raw.socket.destroy();
  });

  it('keeps its connection after every kind of refusal', async () => {
    const api = await start({ bodyMaxBytes: 10 });
    const raw = await api.connect();
    const requests = [
      wire('POST', '/nowhere', 'x'),
      wire('POST', '/goim/push/room', 'x'),
      wire('POST', KEYS, 'x'.repeat(11)),
      wire('POST', KEYS, 'x', ['Origin: https://evil.example']),
      wire('POST', '/halley/disconnect', '{'),
      wire('HEAD', '/goim/online/total'),
      wire('OPTIONS', '/goim/online/total'),
      wire('GET', '/health'),
    ];
    for (const [index, request] of requests.entries()) {
      // The body comes in a segment of its own: what is left of a refused one must not be read as a request.
      const bodyAt = request.indexOf('\r\n\r\n') + 4;
      await raw.send(request.slice(0, bodyAt));
      if (bodyAt < request.length) await raw.send(request.slice(bodyAt));
      await raw.replies(index + 1);
    }
    const statuses = [...raw.received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));
    expect(statuses).toEqual([404, 400, 413, 403, 400, 200, 204, 200]);
    raw.socket.destroy();
  });
});

describe('HEAD and OPTIONS', () => {
  it('HEAD answers the headers of GET without its body', async () => {
    const api = await start();
    const get = await api.get('/goim/online/total');
    const head = await api.request('HEAD', '/goim/online/total');
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
    expect(head.headers['content-type']).toBe(get.headers['content-type']);
    expect((await api.request('HEAD', '/nowhere')).status).toBe(404);
    expect((await api.request('HEAD', '/goim/push/all')).status).toBe(404);
  });

  it('OPTIONS names the methods of a path', async () => {
    const api = await start();
    const answer = await api.request('OPTIONS', '/goim/online/total');
    expect([answer.status, answer.headers.allow, answer.text]).toEqual([204, 'GET, HEAD, OPTIONS', '']);
    expect((await api.request('OPTIONS', '/nowhere')).status).toBe(404);
  });
});

describe('a body above the limit', () => {
  it('is refused although it is split, and one at the limit is taken', async () => {
    const api = await start({ bodyMaxBytes: 1000 });
    const raw = await api.connect();
    const send = async (bytes: number, count: number) => {
      const text = wire('POST', KEYS, 'x'.repeat(bytes));
      const step = Math.ceil(text.length / 7);
      for (let at = 0; at < text.length; at += step) await raw.send(text.slice(at, at + step));
      return raw.replies(count);
    };
    expect(await send(1000, 1)).toContain('200 OK');
    expect(await send(1001, 2)).toContain('{"code":-413,"message":"the body is above the limit: limitBytes=1000"}');
    expect(await send(5, 3)).not.toContain('Connection: close');
    expect(api.pusher.commands.map((one) => one.body.byteLength)).toEqual([1000, 5]);
    raw.socket.destroy();
  });

  it('is refused at once when its announced length is absurd, and the connection ends', async () => {
    const api = await start({ bodyMaxBytes: 1000 });
    const raw = await api.connect();
    await raw.send(`POST ${KEYS} HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\nabc`);
    await eventually(() => raw.closed, 'the server closes');
    expect(raw.received).toContain('413 Content Too Large');
    expect(raw.received).toContain('Connection: close');
    await eventually(() => api.api.gauges().inFlightCount === 0, 'nothing is left');
  });

  it('is cut off when a chunked one does not end', async () => {
    const api = await start({ bodyMaxBytes: 1000 });
    const raw = await api.connect();
    await raw.send(`POST ${KEYS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent < 64 && !raw.closed; sent++) {
      if (!raw.socket.writable) break;
      raw.socket.write(chunk, 'latin1');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => raw.closed, 'the server closes');
    expect(api.pusher.commands).toEqual([]);
    await eventually(() => api.api.gauges().inFlightCount === 0, 'nothing is left');
  });
});

describe('a client that goes away', () => {
  it('in the middle of a body leaves nothing and pushes nothing', async () => {
    const api = await start();
    const raws = await Promise.all(Array.from({ length: 50 }, () => api.connect()));
    for (const raw of raws) await raw.send(`${wire('POST', KEYS, 'x'.repeat(100)).slice(0, -50)}`);
    await eventually(() => api.api.gauges().inFlightCount === 50, 'all are half-sent');
    for (const [index, raw] of raws.entries()) {
      if (index % 2 === 0) raw.socket.resetAndDestroy();
      else raw.socket.end();
    }
    await eventually(() => api.api.gauges().inFlightCount === 0, 'all are forgotten');
    expect(api.api.gauges()).toMatchObject({ abortedCount: 50, defectCount: 0 });
    expect(api.pusher.commands).toEqual([]);
    expect((await api.get('/health')).status).toBe(200);
  });

  it('in the middle of a request line leaves nothing', async () => {
    const api = await start();
    const raw = await api.connect();
    await raw.send('POST /goim/pu');
    raw.socket.resetAndDestroy();
    await eventually(() => raw.closed, 'closed');
    expect((await api.get('/health')).status).toBe(200);
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, requestCount: 1 });
  });

  it('while a handler works costs nothing but the answer', async () => {
    const api = await start({ handlerDeadlineMs: 50 });
    let finish = (_count: number) => {};
    const pending = new Promise<number>((resolve) => {
      finish = resolve;
    });
    api.comet.answer = () => pending;
    const raws = await Promise.all([api.connect(), api.connect(), api.connect()]);
    for (const raw of raws) await raw.send(wire('POST', '/halley/disconnect', '{"keys":["a"]}'));
    await eventually(() => api.comet.calls.length === 3, 'the handlers run');
    for (const raw of raws) raw.socket.resetAndDestroy();
    await eventually(() => api.api.gauges().inFlightCount === 0, 'all are forgotten');
    finish(3);
    expect((await api.get('/health')).status).toBe(200);
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, defectCount: 0 });
  });
});

describe('the server', () => {
  it('answers 200 concurrent requests, each with its own body', async () => {
    const api = await start();
    const sent = Array.from({ length: 200 }, (_, index) => `message ${index} ${'y'.repeat(index * 50)}`);
    const answers = await Promise.all(sent.map((body) => api.post(KEYS, body)));
    expect(answers.every((answer) => answer.status === 200)).toBe(true);
    expect(bodies(api).sort()).toEqual([...sent].sort());
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, requestCount: 200, abortedCount: 0 });
  });

  it('answers 500 when a handler throws, reports where, and goes on', async () => {
    const api = await start();
    api.pusher.failure = new Error('secret detail');
    const answer = await api.post(KEYS, 'x');
    expect([answer.status, answer.json]).toEqual([500, { code: -500, message: expect.any(String) }]);
    expect(answer.text).not.toContain('secret');
    expect(api.defects).toEqual([{ error: api.pusher.failure, where: 'POST /goim/push/keys' }]);
    api.pusher.failure = undefined;
    expect((await api.post(KEYS, 'x')).status).toBe(200);
  });

  it('survives a report that throws itself', async () => {
    const api = await start({
      onDefect: () => {
        throw new Error('the logger is broken');
      },
      stats: () => {
        throw new Error('no counters');
      },
    });
    expect((await api.get('/halley/stats')).status).toBe(500);
    expect((await api.get('/health')).status).toBe(200);
    expect(api.api.gauges().defectCount).toBe(1);
  });

  it('refuses a port that is taken instead of sharing it, and can listen elsewhere then', async () => {
    const first = await start();
    const second = new ApiHarness();
    open.push(second);
    await expect(second.api.listen(HOST, first.port)).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining('option="http-port"'),
    });
    expect(await second.api.listen(HOST, 0)).toBeGreaterThan(0);
    await expect(second.api.listen(HOST, 0)).rejects.toMatchObject({ code: 'ALREADY_LISTENING' });
  });

  it('does not let anybody else share its port', async () => {
    const api = await start();
    const other = createServer();
    const code = await new Promise((resolve) => {
      other.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      other.listen(api.port, HOST, () => resolve('listened'));
    });
    expect(code).toBe('EADDRINUSE');
  });

  it('ends every connection at close, also one that waits for its answer, and frees the port', async () => {
    const api = await start();
    api.comet.answer = () => new Promise(() => {});
    const idle = await api.connect();
    const waiting = await api.connect();
    await waiting.send(wire('POST', '/halley/disconnect', '{"keys":["a"]}'));
    await eventually(() => api.comet.calls.length === 1, 'the handler runs');
    api.api.close();
    api.api.close();
    await eventually(() => idle.closed && waiting.closed, 'both are closed');
    expect(api.api.gauges().inFlightCount).toBe(0);
    const next = new ApiHarness();
    open.push(next);
    expect(await next.api.listen(HOST, api.port)).toBe(api.port);
  });
});

describe('pages', () => {
  const body = Buffer.from('<p>hi</p>');
  const pages = new Map([['/', { contentType: 'text/html; charset=utf-8', body }]]);

  it('are served with validator, nosniff and a strict policy, and not sent again', async () => {
    const api = await start({ pages });
    const page = await api.get('/');
    expect([page.status, page.headers['content-type'], page.text]).toEqual([
      200,
      'text/html; charset=utf-8',
      '<p>hi</p>',
    ]);
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'");
    const etag = page.headers.etag as string;
    for (const match of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await api.get('/', { 'If-None-Match': match });
      expect([again.status, again.text, again.headers.etag]).toEqual([304, '', etag]);
    }
    expect((await api.get('/', { 'If-None-Match': '"other"' })).status).toBe(200);
    const head = await api.request('HEAD', '/');
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', String(body.byteLength)]);
    expect((await api.post('/')).status).toBe(404);
  });
});
