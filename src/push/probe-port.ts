/**
 * probe-port: is this port free for one owner? uWebSockets.js listens with SO_REUSEPORT, so a second process that takes the
 * same port does not fail: the kernel splits the clients between the two (measured, DESIGN section 3). `node:net` listens
 * without it, so a short exclusive listen finds every other owner, Halley or not.
 *
 * Threads: control thread, at start-up, before any bucket listens.
 * Guarantees: the port was free at the moment of the answer. Between the answer and the caller's own listen another process
 * may take it; among Halley's own nodes `cli/port-claim.ts` closes that gap. A port of our choice (0) is none that the kernel
 * gives away by itself: those go to every outgoing connection, and a start that waits for Redis takes seconds.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { HalleyError } from '../errors/index.js';

/** Why a listen failed, as an error that names the option to change. */
function refused(host: string, port: number, optionName: string, cause: NodeJS.ErrnoException): HalleyError {
  const details = { option: optionName, host, port };
  switch (cause.code) {
    case 'EADDRINUSE':
      return new HalleyError('PORT_TAKEN', 'another process listens here, choose another port', details, cause);
    case 'EACCES':
      return new HalleyError('PORT_FORBIDDEN', 'this user may not listen on this port', details, cause);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
      return new HalleyError('HOST_UNKNOWN', 'the host is not an address of this machine', details, cause);
    default:
      return new HalleyError('LISTEN_FAILED', 'cannot listen here', { ...details, errno: cause.code }, cause);
  }
}

/** Below what the kernel gives to outgoing connections and to listeners on port 0; Linux' default, as good as any elsewhere. */
const DEFAULT_EPHEMERAL_FROM = 32_768;
const QUIET_FROM = 20_000;
const QUIET_TRIES = 20;

function ephemeralFrom(): number {
  try {
    const [first = ''] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/);
    return Number(first);
  } catch {
    // Not Linux, or it is hidden from us.
    return DEFAULT_EPHEMERAL_FROM;
  }
}

/**
 * @param port 0 to 65535; 0: choose a free one
 * @param optionName name of the option that holds the port, for the error, for example `http_port`
 * @returns the port, never 0
 * @throws HalleyError PORT_TAKEN, PORT_FORBIDDEN, HOST_UNKNOWN or LISTEN_FAILED
 */
export async function probePort(host: string, port: number, optionName: string): Promise<number> {
  const quietEnd = port === 0 ? ephemeralFrom() : 0;
  for (let tries = 0; quietEnd > QUIET_FROM && tries < QUIET_TRIES; tries++) {
    try {
      return await listenOnce(host, randomInt(QUIET_FROM, quietEnd), optionName);
    } catch (error) {
      if (!(error instanceof HalleyError) || error.code !== 'PORT_TAKEN') throw error;
    }
  }
  return listenOnce(host, port, optionName);
}

function listenOnce(host: string, port: number, optionName: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => reject(refused(host, port, optionName, error)));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const realPort = address !== null && typeof address === 'object' ? address.port : port;
      server.close((error) => (error === undefined ? resolve(realPort) : reject(error)));
    });
  });
}
