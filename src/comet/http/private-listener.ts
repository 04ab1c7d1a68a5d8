/**
 * A bucket's own port on the loopback address, through which the other buckets of the node bring requests whose session is
 * here. Which port it is stands in shared memory.
 *
 * Threads: its bucket; the port is read by the others.
 */
import uWS, { type TemplatedApp, type us_listen_socket } from 'uWebSockets.js';
import { HalleyError } from '../../errors/index.js';

export const PRIVATE_HOST = '127.0.0.1';
const EXCLUSIVE_PORT = 1;

/** The declarations lack the form with host and options; the binary has it (private-listener.test.ts). */
type ListenWithOptions = (
  host: string,
  port: number,
  options: number,
  cb: (socket: us_listen_socket | false) => void,
) => TemplatedApp;

export class PrivateListener {
  readonly #ports: Int32Array;
  readonly #thread: number;
  readonly #routes: (app: TemplatedApp) => void;
  #app: TemplatedApp | undefined;

  /** @param ports one per thread @param thread the index of this one */
  constructor(ports: Int32Array, thread: number, routes: (app: TemplatedApp) => void) {
    this.#ports = ports;
    this.#thread = thread;
    this.#routes = routes;
  }

  /** Once; what comes later finds it open. */
  listen(): Promise<void> {
    if (this.#app !== undefined) return Promise.resolve();
    const app = uWS.App();
    this.#app = app;
    this.#routes(app);
    app.any('/*', (res) => {
      res.onAborted(() => {});
      res.writeStatus('404 Not Found').end();
    });
    return new Promise((resolve, reject) => {
      const listen = (app.listen as unknown as ListenWithOptions).bind(app);
      // Exclusive: with a shared port another process could take requests that carry the node's secret.
      listen(PRIVATE_HOST, 0, EXCLUSIVE_PORT, (socket) => {
        if (socket === false) {
          reject(new HalleyError('LISTEN_FAILED', 'the private port could not be opened', { host: PRIVATE_HOST }));
          return;
        }
        // Pairs with the load in HttpRoutes: a bucket that sees the port may connect to it.
        Atomics.store(this.#ports, this.#thread, uWS.us_socket_local_port(socket));
        resolve();
      });
    });
  }

  close(): void {
    Atomics.store(this.#ports, this.#thread, 0);
    this.#app?.close();
  }
}
