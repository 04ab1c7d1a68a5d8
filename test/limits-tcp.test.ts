/** Limits of connections and the client's address behind proxies on the TCP door, on the whole program. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  eventually,
  GoimTcpSocket,
  get,
  type HalleyProcess,
  nodeStats,
  startHalley,
  tcpPacket,
  WireClient,
} from './kit/index.js';

const LIMIT = 3;
let keyCount = 0;

const authPacket = (key: string) => tcpPacket(7, 1, JSON.stringify({ mid: 1, key }));

describe('behind a proxy that writes the PROXY protocol', () => {
  let halley: HalleyProcess;
  beforeAll(async () => {
    halley = await startHalley({
      env: {
        HALLEY_LIMITS_CONNECTIONS_PER_IP: String(LIMIT),
        HALLEY_LIMITS_PROXY_PROTOCOL: 'v2-tcp',
        HALLEY_HTTP_TRUSTED_PROXIES: '127.0.0.1',
      },
    });
  });
  afterAll(async () => {
    expect(await halley.stop()).toBe(0);
  });

  /** Through the proxy; undefined: cut. */
  async function proxied(address: string, key = `proxied-${++keyCount}`): Promise<GoimTcpSocket | undefined> {
    const client = await GoimTcpSocket.open(halley.tcpPort);
    client.write(Buffer.concat([Buffer.from(`PROXY TCP4 ${address} 10.0.0.1 55555 3101\r\n`), authPacket(key)]));
    await eventually(() => client.isEnded || client.packets().length > 0);
    return client.isEnded ? undefined : client;
  }

  it('the session has the address of the header', async () => {
    const client = await proxied('203.0.113.7', 'tcp-proxied');
    const { data } = await get(`${halley.httpUrl}/halley/sessions?keys=tcp-proxied`);
    expect((data as { remote_ip: string }[])[0]?.remote_ip).toBe('203.0.113.7');
    client?.destroy();
  });

  it('an address is limited over the TCP door and the WebSocket together, and each that goes makes room', async () => {
    const address = '203.0.113.20';
    const web = () => WireClient.connect(halley.wsUrl, { mid: 1 }, { headers: { 'X-Forwarded-For': address } });
    const onWeb = await web();
    const onTcp = [await proxied(address), await proxied(address)];
    expect(onTcp).not.toContain(undefined);
    const before = (await nodeStats(halley.httpUrl)).totals.refused_per_ip;
    expect(await proxied(address)).toBeUndefined();
    await expect(web()).rejects.toThrow();
    expect((await nodeStats(halley.httpUrl)).totals.refused_per_ip - before).toBe(2);
    expect(await proxied('203.0.113.21').then((other) => other?.destroy())).toBeUndefined();
    onTcp[0]?.destroy();
    const third = await eventually(() => web().catch(() => undefined));
    expect(await proxied(address)).toBeUndefined();
    for (const client of [onWeb, third]) await client.close();
    onTcp[1]?.socket.resetAndDestroy();
    // Nothing is left of them: all places can be taken again.
    const again: GoimTcpSocket[] = [];
    await eventually(async () => {
      const client = await proxied(address);
      if (client !== undefined) again.push(client);
      return again.length === LIMIT;
    });
    expect(await proxied(address)).toBeUndefined();
    for (const client of again) client.destroy();
  });

  it('clients without a header are cut and counted', async () => {
    const before = (await nodeStats(halley.httpUrl)).totals.refused_proxy;
    const bare = await GoimTcpSocket.open(halley.tcpPort);
    bare.write(authPacket('bare'));
    await bare.ended();
    expect(bare.received).toHaveLength(0);
    expect((await nodeStats(halley.httpUrl)).totals.refused_proxy - before).toBe(1);
    bare.destroy();
  });

  it('a health check of the proxy itself is let in, as its own address', async () => {
    const check = await GoimTcpSocket.open(halley.tcpPort);
    const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
    check.write(Buffer.concat([local, authPacket('tcp-check')]));
    await check.packetAt(0);
    const { data } = await get(`${halley.httpUrl}/halley/sessions?keys=tcp-check`);
    expect((data as { remote_ip: string }[])[0]?.remote_ip).toBe('127.0.0.1');
    check.destroy();
  });

  it('a crowd that comes and goes leaves nothing behind', async () => {
    for (let round = 0; round < 5; round++) {
      const crowd = await Promise.all(
        Array.from({ length: 20 }, (_, index) => proxied(`203.0.113.${100 + (index % 4)}`)),
      );
      for (const client of crowd) client?.destroy();
    }
    await eventually(async () => {
      const all = await Promise.all(Array.from({ length: 4 }, (_, index) => proxied(`203.0.113.${100 + index}`)));
      for (const client of all) client?.destroy();
      return !all.includes(undefined);
    });
    await eventually(async () => (await nodeStats(halley.httpUrl)).totals.channels === 0);
  });
});

it('limits.connections_per_ip holds on a TCP port without proxies, and before a channel is made', async () => {
  const halley = await startHalley({ env: { HALLEY_LIMITS_CONNECTIONS_PER_IP: '2' } });
  try {
    // Silent ones count as well: they hold a place until the handshake deadline.
    const silent = [await GoimTcpSocket.open(halley.tcpPort), await GoimTcpSocket.open(halley.tcpPort)];
    const refused = await GoimTcpSocket.open(halley.tcpPort);
    await refused.ended();
    expect((await nodeStats(halley.httpUrl)).totals).toMatchObject({ refused_per_ip: 1, auth_failed: 0 });
    for (const client of silent) client.destroy();
    const client = await eventually(() => GoimTcpSocket.login(halley.tcpPort, { mid: 1 }).catch(() => undefined));
    client.destroy();
  } finally {
    expect(await halley.stop()).toBe(0);
  }
});
