/**
 * Holds the WebSocket port for this process from the probe to the end. The buckets listen with SO_REUSEPORT, so two nodes
 * that start at the same moment would both find the port free and then share its clients silently (seen with three nodes;
 * a start that waits for ids has seconds in between). A name in Linux's abstract socket namespace has one owner, and goes
 * with it, kill -9 included.
 *
 * Threads: control thread.
 * Guarantees: among the Halley nodes of one network namespace, one owner per address and port. Elsewhere than on Linux
 *   there is no such namespace, and the probe alone has to do.
 */
import { createServer } from 'node:net';
import { HalleyError } from '../errors/index.js';
import { probePort } from '../push/index.js';

const FREE_PORT_TRIES = 10;

export interface PortClaim {
  /** Never 0. */
  readonly port: number;
  readonly release: () => void;
}

/**
 * Claim the port and see that it is free for listening. @param port 0: any free one
 * @throws HalleyError PORT_TAKEN and what else probePort throws
 */
export async function claimPort(host: string, port: number, optionName: string): Promise<PortClaim> {
  for (let tries = 1; ; tries++) {
    const realPort = await probePort(host, port, optionName);
    const release = await claimName(`\0halley-port-${host}-${realPort}`);
    if (release !== undefined) return { port: realPort, release };
    if (port === 0 && tries < FREE_PORT_TRIES) continue;
    throw new HalleyError('PORT_TAKEN', 'another process listens here, choose another port', {
      option: optionName,
      host,
      port: realPort,
    });
  }
}

/** Undefined: the name has an owner. */
function claimName(name: string): Promise<(() => void) | undefined> {
  if (process.platform !== 'linux') return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(name, () => resolve(() => void server.close()));
    // The claim is no reason to stay alive.
    server.unref();
  });
}
