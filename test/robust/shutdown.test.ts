/**
 * An orderly end: Ctrl-C and SIGTERM tell every channel, deliver what was accepted, and end the process within its bound
 * whatever clients and applications do.
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  connectToBucket,
  eventually,
  type HalleyProcess,
  post,
  pushRoom,
  readiness,
  startHalley,
  WireClient,
} from '../kit/index.js';

const APP = fileURLToPath(new URL('../fixtures/misbehaving.mjs', import.meta.url));
const SPIN_OP = 2006;
const EXIT_DEADLINE_MS = 10_000;
const HEARTBEAT_SEQ = 4711;
const ROOM = 'live://end';

/** The end of the process, or a failure that shows what it wrote. */
async function exitOf(halley: HalleyProcess): Promise<number | string> {
  let code: number | string | undefined;
  void halley.exited.then((value) => {
    code = value;
  });
  return eventually(() => code, EXIT_DEADLINE_MS, 'the end of the process').catch((error) => {
    halley.child.kill('SIGKILL');
    throw new Error(`${error}\n${halley.output()}`);
  });
}

function connectMany(halley: HalleyProcess, count: number): Promise<WireClient[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      WireClient.connect(halley.wsUrl, { key: `k${index}`, roomId: ROOM, extended: index % 2 === 1 }),
    ),
  );
}

describe('an orderly end', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'on %s tells every channel after everything that was pushed, spreads the closes and exits with 0',
    async (signal) => {
      const halley = await startHalley({ env: { HALLEY_SHUTDOWN_DRAIN_MS: '1500' } });
      const clients = await connectMany(halley, 40);
      // Pushes go on across the signal, side by side: whatever is answered with 0 must arrive everywhere.
      const accepted = new Set<string>();
      let refused: number | undefined;
      let serial = 0;
      const pusher = async () => {
        while (refused === undefined) {
          const text = `m${serial++}`;
          const answer = await post(`${halley.httpUrl}/goim/push/room?operation=1000&type=live&room=end`, text);
          if (answer.code === 0) accepted.add(text);
          else refused = answer.code;
        }
      };
      const pushers = Promise.all(Array.from({ length: 4 }, pusher));
      await eventually(() => accepted.size > 50, 5_000, 'pushes under way');
      halley.child.kill(signal);

      // Closes are spread: when the first is gone, others still are served, newcomers are not, and the node says why.
      await eventually(() => clients.some((client) => client.closed !== undefined), 5_000, 'the first close');
      for (const client of clients) if (client.closed === undefined) client.send(2, '', HEARTBEAT_SEQ);
      await eventually(
        () => clients.some(({ packets }) => packets.some(({ op, seq }) => op === 3 && seq === HEARTBEAT_SEQ)),
        5_000,
        'a heartbeat answered during the drain',
      );
      await expect(WireClient.connect(halley.wsUrl)).rejects.toThrow(/ECONNREFUSED/);
      expect(await readiness(halley.httpUrl)).toMatchObject({
        ready: false,
        reasons: expect.arrayContaining([{ reason: 'stopping', detail: 'the node is shutting down' }]),
      });
      await pushers;
      expect(refused).toBe(-503);

      for (const [index, client] of clients.entries()) {
        expect(await client.closing()).toEqual({ code: 3000, reason: 'shutdown' });
        const texts = client.messages.map((message) => message.text);
        expect(new Set(texts)).toEqual(accepted);
        expect(texts.length).toBe(accepted.size);
        const isExtended = index % 2 === 1;
        expect(client.packets.filter(({ op }) => op === 6).length).toBe(isExtended ? 1 : 0);
        if (!isExtended) continue;
        expect(client.packets.at(-1)?.op).toBe(6);
        expect(JSON.parse(client.packets.at(-1)?.body.toString() ?? '')).toMatchObject({ code: 3000, reconnect: true });
      }
      expect(await exitOf(halley)).toBe(0);
      expect(halley.output()).toContain(`halley is stopping (${signal})`);
      expect(halley.output()).toMatch(/halley has stopped\n$/);
    },
  );

  it('ends at once with drain_ms 0, everything pushed before still arriving', async () => {
    const halley = await startHalley({ env: { HALLEY_SHUTDOWN_DRAIN_MS: '0' } });
    const clients = await connectMany(halley, 50);
    const pushes = Array.from({ length: 300 }, (_, index) => pushRoom(halley.httpUrl, ROOM, `m${index}`));
    await Promise.all(pushes);
    halley.child.kill('SIGTERM');
    for (const client of clients) {
      expect((await client.closing()).code).toBe(3000);
      expect(client.messages.length).toBe(300);
    }
    expect(await exitOf(halley)).toBe(0);
  });

  it('is not held up by clients that never read, half a request or a connection without auth', async () => {
    const halley = await startHalley({
      env: { HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: '65536', HALLEY_SHUTDOWN_DRAIN_MS: '100' },
    });
    const deaf = await connectMany(halley, 6);
    const reader = await WireClient.connect(halley.wsUrl, { key: 'reader', roomId: ROOM, extended: true });
    const silent = await WireClient.open(halley.wsUrl);
    for (const client of deaf) client.pause();
    const body = 'x'.repeat(500_000);
    for (let index = 0; index < 20; index++) await pushRoom(halley.httpUrl, ROOM, body);
    await reader.messageCount(20);
    halley.child.kill('SIGINT');
    expect((await reader.closing()).code).toBe(3000);
    expect((await silent.closing()).code).toBe(3000);
    expect(await exitOf(halley)).toBe(0);
    for (const client of deaf) client.terminate();
  });

  it('lets a client that is behind read what was pushed before it is closed', async () => {
    const halley = await startHalley({
      env: { HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: '67108864', HALLEY_SHUTDOWN_DRAIN_MS: '3000' },
    });
    const behind = await WireClient.connect(halley.wsUrl, { key: 'behind', roomId: ROOM, extended: true });
    const reader = await WireClient.connect(halley.wsUrl, { key: 'reader', roomId: ROOM, extended: true });
    behind.pause();
    const body = 'x'.repeat(500_000);
    for (let index = 0; index < 40; index++) await pushRoom(halley.httpUrl, ROOM, body);
    await reader.messageCount(40);
    halley.child.kill('SIGINT');
    await reader.closing();
    behind.resume();
    expect((await behind.closing()).code).toBe(3000);
    expect(behind.messages.length).toBe(40);
    expect(await exitOf(halley)).toBe(0);
  });

  it('ends by the third signal without a crash, however long the rest would take', async () => {
    const halley = await startHalley({
      env: { HALLEY_SHUTDOWN_DRAIN_MS: '9000', HALLEY_SHUTDOWN_TIMEOUT_MS: '20000' },
    });
    const clients = await connectMany(halley, 10);
    for (const word of ['is stopping', 'stopping already; once more ends it at once']) {
      halley.child.kill('SIGINT');
      await eventually(() => halley.output().includes(word), 5_000, word);
    }
    halley.child.kill('SIGINT');
    expect(await exitOf(halley)).toBe('SIGKILL');
    expect(halley.output()).not.toContain('has stopped');
    for (const client of clients) await client.closing();
  });

  it('cuts a bucket off that spins, after shutdown.timeout_ms, while the other one closes in order', async () => {
    const halley = await startHalley({
      args: ['--app', APP],
      env: { HALLEY_SHUTDOWN_TIMEOUT_MS: '1000', HALLEY_SHUTDOWN_DRAIN_MS: '50', HALLEY_RING_STALL_MS: '200' },
    });
    const stuck = await connectToBucket(halley.wsUrl, 1, { key: 'stuck' });
    const free = await connectToBucket(halley.wsUrl, 2, { key: 'free', extended: true });
    stuck.send(SPIN_OP, '60000');
    await eventually(async () => !(await readiness(halley.httpUrl)).ready, 5_000, 'the bucket stalls');
    halley.child.kill('SIGTERM');
    expect((await free.closing()).code).toBe(3000);
    expect(await exitOf(halley)).toBe('SIGKILL');
    expect(halley.output()).toContain('what was left after shutdown.timeout_ms was cut off');
    expect((await stuck.closing()).code).toBe(1006);
  });
});
