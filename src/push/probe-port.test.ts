import uWS, { type us_listen_socket } from 'uWebSockets.js';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { probePort } from './index.js';

const HOST = '127.0.0.1';
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function taken(): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  cleanups.push(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { server, port: address.port };
}

/** Listen as a bucket does; throws where uWS cannot. */
function listenShared(port: number): void {
  const sockets: us_listen_socket[] = [];
  uWS.App().listen(HOST, port, (socket) => {
    if (socket !== false) sockets.push(socket);
  });
  const [socket] = sockets;
  if (socket === undefined) throw new Error('uWS did not listen');
  cleanups.push(() => uWS.us_listen_socket_close(socket));
}

describe('probePort', () => {
  it('chooses a free port for 0 and leaves it free', async () => {
    const port = await probePort(HOST, 0, 'http-port');
    expect(port).toBeGreaterThan(0);
    // Else it could be gone a moment later, to any client that connects to something.
    const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
    expect(port >= first && port <= last).toBe(false);
    expect(await probePort(HOST, port, 'http-port')).toBe(port);
  });

  it('refuses a port that any other server holds, naming host, port and option', async () => {
    const { port } = await taken();
    await expect(probePort(HOST, port, 'tcp-port')).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: `another process listens here, choose another port: option="tcp-port" host="${HOST}" port=${port}`,
    });
  });

  it('refuses a port that a SO_REUSEPORT listener holds, which uWS itself would silently share', async () => {
    // uWS sets SO_REUSEPORT only for an explicit port, so the free one is chosen first.
    const port = await probePort(HOST, 0, 'ws-port');
    listenShared(port);
    // The control: a second uWS listener gets the very same port, so without the probe nobody would notice.
    listenShared(port);
    await expect(probePort(HOST, port, 'ws-port')).rejects.toMatchObject({ code: 'PORT_TAKEN' });
  });

  it('says so when the host is not an address of this machine', async () => {
    await expect(probePort('192.0.2.1', 0, 'host')).rejects.toMatchObject({ code: 'HOST_UNKNOWN' });
  });
});
