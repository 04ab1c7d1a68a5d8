import uWS, { type TemplatedApp, type us_listen_socket } from 'uWebSockets.js';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { FallbackClient, send } from '../../../test/kit/fallback-client.js';
import { systemClock } from '../../clock/index.js';
import { CLOSE } from '../../errors/index.js';
import { encodePacket, encodeUtf8, OP } from '../../protocol/index.js';
import { CHANNEL_STATE, Channel, type ChannelOwner } from '../bucket/channel.js';
import type { DoorHandlers } from '../bucket/door.js';
import { admissionOf } from '../limits/fixtures/admission-of.js';
import type { AdmissionOptions } from '../limits/open-admission.js';
import { HttpDoor, type HttpDoorOptions, newFallbackSecret } from './http-door.js';

const opened: { readonly door: HttpDoor; readonly app: TemplatedApp }[] = [];
afterEach(() => {
  for (const { door, app } of opened.splice(0)) {
    door.closeAll();
    app.close();
  }
});

const shared = { serverId: 'n', nodeEpoch: 1, secret: newFallbackSecret(), ports: new Int32Array(4) };

/** A door on an app of its own. Every channel is accepted with op 8 unless the test handles messages itself. */
async function openDoor(
  own: Partial<DoorHandlers> = {},
  options: Partial<HttpDoorOptions> = {},
  limits: Partial<AdmissionOptions> = {},
) {
  const events: string[] = [];
  const channels: Channel[] = [];
  const handlers: DoorHandlers = {
    create: () => {
      const channel = new Channel({} as ChannelOwner);
      channel.slot = channels.length;
      channel.serial = channels.length + 1;
      channels.push(channel);
      return channel;
    },
    open: (channel) => void channel.socket?.subscribe('room'),
    message: (channel, bytes) => {
      events.push(`message ${bytes.length}`);
      if (channel.state === CHANNEL_STATE.OPEN) {
        channel.state = CHANNEL_STATE.READY;
        channel.socket?.send(encodePacket(OP.AUTH_REPLY, 1, 1));
      }
    },
    dropped: () => void events.push('dropped'),
    ping: () => void events.push('ping'),
    drain: () => void events.push('drain'),
    close: (channel) => {
      events.push('close');
      channel.socket = undefined;
    },
    onError: (error) => void events.push(`error ${String(error)}`),
    ...own,
  };
  const door = new HttpDoor(
    {
      bucket: 1,
      incarnation: 0,
      maxBackpressureBytes: 10_000,
      reconnectWindowMs: 9_000,
      replayBytes: 1_000,
      pollMaxWaitMs: 30_000,
      requestBodyBytes: 4_096,
      postMaxBytes: 8_192,
      ...options,
    },
    handlers,
    { node: shared, nodes: { find: async () => 'gone' }, clock: systemClock, admission: admissionOf(limits).admission },
  );
  const app = uWS.App();
  door.attach(app);
  await door.listen();
  const port = await new Promise<number>((resolve) => {
    app.listen('127.0.0.1', 0, (socket) => resolve(uWS.us_socket_local_port(socket as us_listen_socket)));
  });
  opened.push({ door, app });
  return { door, events, channels, url: `ws://127.0.0.1:${port}/sub`, base: `http://127.0.0.1:${port}` };
}

describe('the door of the HTTP fallbacks', () => {
  it('publishes one copy to streams and polls alike, and to nobody who has left the topic', async () => {
    const { door, url, channels } = await openDoor();
    const clients: FallbackClient[] = [];
    for (let index = 0; index < 3; index++) {
      const client = await FallbackClient.connect(url, {});
      await client.poll();
      clients.push(client);
    }
    const stream = await clients[0]!.stream({ format: 'json', cursor: 1 });
    const poll = clients[1]!.poll();
    channels[2]?.socket?.unsubscribe('room');
    await eventually(() => door.sessionCount === 3 && stream.comments > 0);
    const bytes = encodePacket(1000, 0, 1, encodeUtf8('hi'));
    door.publish('room', bytes);
    // The caller's memory is its own again.
    bytes.fill(0);
    await stream.count(1);
    expect(stream.packets).toEqual([{ op: 1000, seq: 0, ver: 1, body: 'hi' }]);
    expect((await poll).json.packets).toEqual([{ op: 1000, seq: 0, ver: 1, body: 'hi' }]);
    expect((await clients[2]!.poll(0)).status).toBe(204);
    stream.close();
  });

  it('refuses with the status of the close code where no channel is to be had', async () => {
    const { base } = await openDoor({ create: () => CLOSE.OVERLOADED });
    const answer = await send(`${base}/sub/connect`, { body: '{}' });
    expect([answer.status, answer.json, answer.headers['retry-after']]).toEqual([
      503,
      { code: 3002, reason: 'overloaded', reconnect: true, retry_after_ms: 1000 },
      '1',
    ]);
  });

  it('counts a session of an address until it ends, however its requests come and go', async () => {
    const { door, url, base } = await openDoor({}, {}, { connectionsPerIp: 1 });
    const first = await FallbackClient.connect(url, {});
    await first.poll();
    const second = await send(`${base}/sub/connect`, { body: '{}' });
    expect([second.status, second.json.code, second.headers['retry-after']]).toEqual([429, 3008, '1']);
    expect((await first.post('close', {})).status).toBe(204);
    await eventually(() => door.sessionCount === 0);
    expect((await send(`${base}/sub/connect`, { body: '{}' })).status).toBe(200);
  });

  it('refuses pages of origins that are not allowed on every route, and names the allowed one', async () => {
    const { base, events } = await openDoor({}, {}, { allowedOrigins: ['https://good.example'] });
    for (const path of ['connect', 'send', 'close']) {
      const answer = await send(`${base}/sub/${path}?session=x`, {
        body: '{}',
        headers: { origin: 'https://bad.example' },
      });
      expect([path, answer.status, answer.json.code]).toEqual([path, 403, 3506]);
      expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    }
    expect(events).toEqual([]);
    const good = await send(`${base}/sub/connect`, { body: '{}', headers: { origin: 'https://good.example' } });
    expect([good.status, good.headers['access-control-allow-origin'], good.headers['vary']]).toEqual([
      200,
      'https://good.example',
      'Origin',
    ]);
  });

  it('answers a connect whose handshake sends nothing once the channel is ready', async () => {
    const { url } = await openDoor({
      message: (channel) => void setImmediate(() => (channel.state = CHANNEL_STATE.READY)),
    });
    expect((await FallbackClient.connect(url, {})).session.length).toBe(54);
  });

  it('closes the channel of a client that left before its auth was decided', async () => {
    const { base, events, door } = await openDoor({ message: () => {} });
    const abort = new AbortController();
    const connect = send(`${base}/sub/connect`, { body: '{}', signal: abort.signal }).catch(() => 'aborted');
    await eventually(() => door.sessionCount === 1);
    abort.abort();
    expect(await connect).toBe('aborted');
    await eventually(() => events.includes('close'));
    expect(door.sessionCount).toBe(0);
  });

  it('lets no exception of a handler through, and goes on', async () => {
    let isBroken = false;
    const { url, events } = await openDoor({
      ping: () => {
        if (isBroken) throw new Error('broken ping');
      },
    });
    const client = await FallbackClient.connect(url, {});
    isBroken = true;
    expect((await client.poll(0)).status).toBe(200);
    expect(events).toContain('error Error: broken ping');
  });

  it('keeps others out of the port of the buckets', async () => {
    const { url } = await openDoor();
    const client = await FallbackClient.connect(url, {});
    const base = `http://127.0.0.1:${shared.ports[1]}`;
    for (const headers of [{}, { 'halley-bucket': 'x' }, { 'halley-bucket': 'a'.repeat(64) }]) {
      const answer = await send(new FallbackClient(base, client.session).url('poll'), { headers });
      expect([answer.status, answer.json.code]).toEqual([403, 3506]);
    }
  });

  it('takes requests to the bucket of the session, and has none while that one is down', async () => {
    const first = await openDoor();
    const second = await openDoor({}, { bucket: 2 });
    const client = await FallbackClient.connect(first.url, {});
    const wrong = client.through(second.url);
    expect((await wrong.poll()).json.packets).toEqual([{ op: OP.AUTH_REPLY, seq: 1, ver: 1, body: '' }]);
    const stream = await wrong.stream({ format: 'json', cursor: 1 });
    first.door.publish('room', encodePacket(1000, 0, 1, encodeUtf8('through')));
    await stream.count(1);
    expect(stream.packets[0]?.body).toBe('through');
    // The abort arrives where the session is: the next reader need not push this one out.
    stream.close();
    first.door.closeAll();
    expect([(await wrong.poll()).status, shared.ports[1]]).toEqual([410, 0]);
  });

  it('of a dying bucket answers nothing and touches nothing', async () => {
    const { door, url, events } = await openDoor();
    const client = await FallbackClient.connect(url, {});
    const poll = client.poll(20_000).catch(() => 'cut');
    await poll;
    const waiting = client.poll(20_000).then(
      ({ status }) => status,
      () => 'cut',
    );
    await eventually(() => events.filter((event) => event === 'ping').length === 2);
    door.makeInert();
    const count = events.length;
    door.closeAll();
    expect(['cut', 410]).toContain(await waiting);
    expect(events.length).toBe(count);
  });
});
