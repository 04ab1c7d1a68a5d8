/**
 * Clients that go away, and the server's own life: its port, its failures, its end.
 */
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ApiHarness, eventually, HOST, wire } from './fixtures/api-harness.js';
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

  it('by ending its side only, counts as gone as well', async () => {
    const api = await start();
    api.comet.answer = () => new Promise(() => {});
    const raw = await api.connect();
    await raw.send(wire('POST', '/halley/disconnect', '{"keys":["a"]}'));
    await eventually(() => api.comet.calls.length === 1, 'the handler runs');
    raw.socket.end();
    await eventually(() => api.api.gauges().inFlightCount === 0, 'it is forgotten');
    expect(api.api.gauges()).toMatchObject({ abortedCount: 1, defectCount: 0 });
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

  it('answers 500 when a reply cannot be written', async () => {
    const pages = new Map([['/', { contentType: 'text/html\r\nX-Evil: 1', body: Buffer.from('x') }]]);
    const api = await start({ pages });
    const answer = await api.get('/');
    expect([answer.status, answer.json]).toEqual([500, { code: -500, message: expect.any(String) }]);
    expect(api.defects).toEqual([{ error: expect.any(TypeError), where: 'GET /' }]);
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, defectCount: 1 });
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
      message: expect.stringContaining('option="http_port"'),
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

  it('names a host that is not here, and a close that came in between', async () => {
    const api = new ApiHarness();
    open.push(api);
    await expect(api.api.listen('192.0.2.1', 0)).rejects.toMatchObject({ code: 'HOST_UNKNOWN' });
    const listening = api.api.listen(HOST, 0);
    api.api.close();
    await expect(listening).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await api.api.listen(HOST, 0)).toBeGreaterThan(0);
  });
});
