/**
 * Clients that take their time to hold connections (slowloris), in sending and in reading.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApiHarness, eventually, type RawSocket, wire } from './fixtures/api-harness.js';
import type { HttpApiDeps } from './http-api.js';

const KEYS = '/goim/push/keys?keys=a';
const open: ApiHarness[] = [];
/** The server's ends of the connections. */
const accepted: Socket[] = [];
const onAccept = (message: unknown) => accepted.push((message as { socket: Socket }).socket);
beforeEach(() => subscribe('net.server.socket', onAccept));
afterEach(() => {
  unsubscribe('net.server.socket', onAccept);
  accepted.length = 0;
  for (const api of open.splice(0)) api.api.close();
});

async function start(overrides: Partial<HttpApiDeps> = {}): Promise<ApiHarness> {
  const timeouts = { headersMs: 500, requestMs: 700, keepAliveMs: 60_000, stallMs: 60_000 };
  const api = await new ApiHarness({ timeouts, ...overrides }).start();
  open.push(api);
  return api;
}

const whole = wire('POST', KEYS, 'x'.repeat(100));

describe('half a request', () => {
  it('is ended in time with 408 and leaves nothing', async () => {
    const api = await start();
    const halves = [
      'POST /goim/pu',
      whole.slice(0, whole.indexOf('Content-Length')),
      whole.slice(0, -50),
      `POST ${KEYS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc`,
      whole + whole.slice(0, -50),
    ];
    const raws: RawSocket[] = [];
    for (let index = 0; index < 100; index++) {
      const raw = await api.connect();
      await raw.send(halves[index % halves.length] as string);
      raws.push(raw);
    }
    await eventually(() => raws.every((raw) => raw.closed), 'all are closed');
    for (const raw of raws) {
      expect(raw.received).toContain('408 Request Timeout');
      expect(raw.received).toContain('"code":-408');
    }
    await eventually(() => accepted.every((socket) => socket.destroyed), 'no socket is left');
    expect(accepted.length).toBe(100);
    // Those whose headers were whole had begun.
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, requestCount: 80, abortedCount: 60, defectCount: 0 });
    expect(api.pusher.commands.length).toBe(20);
    expect((await api.get('/health')).status).toBe(200);
  });

  it('is ended although another byte comes now and then', async () => {
    const api = await start();
    const raw = await api.connect();
    await raw.send('POST /goim/push/keys?keys=');
    await eventually(() => {
      if (raw.socket.writable) raw.socket.write('a');
      return raw.closed;
    }, 'the server closes');
    expect(api.pusher.commands).toEqual([]);
  });

  it('that has not begun is ended without a word', async () => {
    const api = await start();
    const raw = await api.connect();
    await eventually(() => raw.closed, 'the server closes');
    expect(raw.received).toBe('');
  });
});

describe('a connection', () => {
  it('that is idle between requests is kept, and ended when it was so for too long', async () => {
    const api = await start({ timeouts: { headersMs: 300, requestMs: 300, keepAliveMs: 1000 } });
    const raw = await api.connect();
    await raw.send(wire('GET', '/health'));
    expect(await raw.replies(1)).toContain('Keep-Alive: timeout=1');
    // Longer than a request may take: the next check for expired ones has passed when this one is gone.
    const silent = await api.connect();
    await eventually(() => silent.closed, 'the silent one is closed');
    await raw.send(wire('GET', '/health'));
    await raw.replies(2);
    await eventually(() => raw.closed, 'the server closes');
  });

  it('whose client does not read its replies is ended', async () => {
    const body = Buffer.alloc(32 * 1024 * 1024, 'x');
    const pages = new Map([['/', { contentType: 'text/plain', body }]]);
    const api = await start({ pages, timeouts: { stallMs: 200 } });
    const raw = await api.connect();
    raw.socket.pause();
    await raw.send(wire('GET', '/'));
    await eventually(() => accepted[0]?.destroyed === true, 'the server closes');
    expect(api.api.gauges()).toMatchObject({ requestCount: 1, inFlightCount: 0 });
    raw.socket.destroy();
  });
});
