/**
 * Pipelining: many requests on their way on one connection.
 */
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
const bodies = (api: ApiHarness) => api.pusher.commands.map((one) => Buffer.from(one.body).toString());

const JOIN = wire('POST', '/halley/rooms/join', '{"keys":["a"],"rooms":["live://1"]}');

/** The bodies of the replies, in their order. */
function replyBodies(received: string): string[] {
  return received
    .split(/HTTP\/1\.1 (?=\d)/)
    .slice(1)
    .map((reply) => reply.slice(reply.indexOf('\r\n\r\n') + 4));
}

describe('pipelined requests', () => {
  it('are all answered, in their order', async () => {
    const api = await start();
    const raw = await api.connect();
    const requests = Array.from({ length: 50 }, (_, index) => wire('POST', KEYS, `${index}`));
    await raw.send(requests.join('') + wire('GET', '/goim/online/total'));
    const replies = await raw.replies(51);
    expect(bodies(api)).toEqual(requests.map((_, index) => `${index}`));
    expect(replies.indexOf('conn_count')).toBeGreaterThan(replies.lastIndexOf('{"code":0,"message":""}'));
    raw.socket.destroy();
  });

  // Left to itself node:http begins the GET before it has told of the end of the push's body.
  it('are handled in their order, whether they have a body or none', async () => {
    const order: string[] = [];
    const api = await start({
      pusher: {
        push: ({ body }) => {
          order.push(`push ${Buffer.from(body).toString()}`);
          return 'ok';
        },
      },
      stats: () => order.push('stats'),
    });
    const raw = await api.connect();
    const stats = wire('GET', '/halley/stats');
    await raw.send(wire('POST', KEYS, '1') + stats + wire('POST', KEYS, '') + stats + wire('POST', KEYS, '2') + stats);
    await raw.replies(6);
    expect(order).toEqual(['push 1', 'stats', 'push ', 'stats', 'push 2', 'stats']);
    raw.socket.destroy();
  });

  it.each(['one segment', 'segments of 7 bytes'])(
    'behind routes that answer later wait for them, and all are answered in order (%s)',
    async (how) => {
      const api = await start();
      const finishers: ((count: number) => void)[] = [];
      api.comet.answer = () => new Promise((resolve) => finishers.push(resolve));
      const raw = await api.connect();
      const text = [
        wire('POST', KEYS, 'before'),
        JOIN,
        wire('POST', KEYS, 'between'),
        wire('GET', '/health'),
        JOIN,
        JOIN,
      ]
        .concat(wire('POST', KEYS, 'after'), wire('GET', '/goim/online/total'))
        .join('');
      const step = how === 'one segment' ? text.length : 7;
      const sent = (async () => {
        for (let at = 0; at < text.length; at += step) await raw.send(text.slice(at, at + step));
      })();
      await eventually(() => finishers.length === 1, 'the first join runs');
      await sent;
      expect((await api.get('/health')).status).toBe(200);
      // The push behind the join must find the channel in its room: it is not handled before the join is answered.
      expect(bodies(api)).toEqual(['before']);
      expect(api.comet.calls.length).toBe(1);
      finishers[0]?.(10);
      await eventually(() => finishers.length === 2, 'the second join runs');
      finishers[1]?.(20);
      await eventually(() => finishers.length === 3, 'the third join runs');
      finishers[2]?.(30);
      await raw.replies(8);
      await eventually(() => raw.received.includes('ip_count'), 'the last reply is whole');
      const ok = '{"code":0,"message":""}';
      expect(replyBodies(raw.received)).toEqual([
        ok,
        '{"code":0,"message":"","data":{"count":10}}',
        ok,
        '{"healthy":true}',
        '{"code":0,"message":"","data":{"count":20}}',
        '{"code":0,"message":"","data":{"count":30}}',
        ok,
        '{"code":0,"message":"","data":{"conn_count":7,"ip_count":3}}',
      ]);
      expect(bodies(api)).toEqual(['before', 'between', 'after']);
      expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, abortedCount: 0, defectCount: 0 });
      raw.socket.destroy();
    },
  );

  it('are not even read while they wait behind one, beyond what had come in', async () => {
    const api = await start();
    let finish = (_count: number) => {};
    api.comet.answer = () => new Promise((resolve) => (finish = resolve));
    const raw = await api.connect();
    const count = 10_000;
    await raw.send(JOIN + wire('GET', '/health').repeat(count));
    await eventually(() => api.comet.calls.length === 1, 'the handler runs');
    // Each is several turns of the event loop, in which the server would have read on.
    for (let turn = 0; turn < 50; turn++) await api.get('/health');
    expect(api.api.gauges().inFlightCount).toBeLessThan(count / 2);
    finish(1);
    await eventually(() => raw.replyCount() === count + 1, 'all are answered');
    await eventually(() => api.api.gauges().inFlightCount === 0, 'nothing is left');
    raw.socket.destroy();
  });

  it('are forgotten when the server closes', async () => {
    const api = await start();
    api.comet.answer = () => new Promise(() => {});
    const raw = await api.connect();
    await raw.send(JOIN + wire('POST', KEYS, 'x').repeat(20));
    await eventually(() => api.api.gauges().inFlightCount === 21, 'all have come');
    api.api.close();
    await eventually(() => api.api.gauges().inFlightCount === 0, 'all are forgotten');
    expect(api.api.gauges()).toMatchObject({ requestCount: 21, abortedCount: 21, defectCount: 0 });
    expect(api.pusher.commands).toEqual([]);
  });
});

describe('bytes that are no request', () => {
  it('are refused behind the answers to the requests before them', async () => {
    const api = await start();
    let finish = (_count: number) => {};
    api.comet.answer = () => new Promise((resolve) => (finish = resolve));
    const raw = await api.connect();
    await raw.send(`${JOIN + wire('POST', KEYS, 'x').repeat(3) + wire('GET', '/health')}nonsense\r\n\r\n`);
    await eventually(() => api.comet.calls.length === 1, 'the handler runs');
    await api.get('/health');
    expect(raw.received).toBe('');
    finish(2);
    await eventually(() => raw.closed, 'the server closes');
    const statuses = [...raw.received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));
    expect(statuses).toEqual([200, 200, 200, 200, 200, 400]);
    expect(bodies(api)).toEqual(['x', 'x', 'x']);
  });

  it.each(['', JOIN])('in the middle of a body are refused in place of an answer (behind %j)', async (before) => {
    const api = await start();
    api.comet.answer = () => new Promise((resolve) => setImmediate(() => resolve(2)));
    const raw = await api.connect();
    await raw.send(
      `${before}POST ${KEYS} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n`,
    );
    await eventually(() => raw.closed, 'the server closes');
    const statuses = [...raw.received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));
    expect(statuses).toEqual(before === '' ? [400] : [200, 400]);
    expect(api.pusher.commands).toEqual([]);
    expect(api.api.gauges()).toMatchObject({ inFlightCount: 0, abortedCount: 1, defectCount: 0 });
  });
});
