import { afterEach, describe, expect, it } from 'vitest';
import { ApiHarness, eventually, wire } from './fixtures/api-harness.js';
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
    expect(api.pushesTooLarge).toBe(1);
    await eventually(() => api.api.gauges().inFlightCount === 0, 'nothing is left');
  });

  it.each([
    [KEYS, 1],
    ['/halley/push/batch', 1],
    ['/halley/disconnect', 0],
  ])('is counted once where it is a push: %s %d', async (target, count) => {
    const api = await start({ bodyMaxBytes: 1000 });
    expect((await api.post(target, 'x'.repeat(1001))).status).toBe(413);
    expect(api.pushesTooLarge).toBe(count);
    expect((await api.post(target, 'x'.repeat(1000))).status).not.toBe(413);
    expect(api.pushesTooLarge).toBe(count);
  });

  it('is refused before its first byte, and the connection goes on behind it', async () => {
    const api = await start({ bodyMaxBytes: 1000 });
    const raw = await api.connect();
    const text = wire('POST', KEYS, 'x'.repeat(1001));
    const bodyAt = text.indexOf('\r\n\r\n') + 4;
    await raw.send(text.slice(0, bodyAt));
    expect(await raw.replies(1)).toContain('413 Content Too Large');
    await raw.send(text.slice(bodyAt) + wire('POST', KEYS, 'fits'));
    expect(await raw.replies(2)).toContain('200 OK');
    expect(api.pusher.commands.length).toBe(1);
    raw.socket.destroy();
  });

  // Closing with bytes unread makes the kernel reset the connection; the reply is then lost to a client that reads late.
  it('is refused while it comes, and a client that goes on sending is not cut off at once', async () => {
    const api = await start({ bodyMaxBytes: 1000 });
    const raw = await api.connect(true);
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    await raw.send(`POST ${KEYS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`);
    await eventually(() => raw.received.endsWith('limitBytes=1000"}'), 'the refusal has come');
    expect(raw.received).toContain('413 Content Too Large');
    expect(raw.received).toContain('Connection: close');
    expect(api.api.gauges().inFlightCount).toBe(0);
    for (let sent = 0; sent < 12; sent++) {
      await raw.send(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await raw.send('0\r\n\r\n');
    raw.socket.end();
    await eventually(() => raw.closed, 'the server closes');
    expect(raw.socket.errored).toBeNull();
    expect(api.pusher.commands).toEqual([]);
  });

  it('that nobody reads ends the connection as well, beyond what is worth discarding', async () => {
    const api = await start();
    const raw = await api.connect();
    await raw.send('POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 1048577\r\n\r\nabc');
    await eventually(() => raw.closed, 'the server closes');
    expect(raw.received).toContain('404 Not Found');
    expect(raw.received).toContain('Connection: close');
  });
});
