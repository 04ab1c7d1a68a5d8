/**
 * For tests: TCP listeners on free ports whose handlers note their calls, and clients of them. Call `close()` after each test.
 */
import type { Socket } from 'node:net';
import type { DoorHandlers } from '../../src/comet/bucket/door.js';
import { type NotedHandlers, notedHandlers } from '../../src/comet/fixtures/noted-handlers.js';
import type { Admission } from '../../src/comet/limits/admission.js';
import { TcpListener, type TcpListenerOptions } from '../../src/comet/tcp/tcp-listener.js';
import { encodePacket, OP } from '../../src/protocol/index.js';
import { probePort } from '../../src/push/index.js';
import { GoimTcpSocket } from './goim-tcp-client.js';

export const HOST = '127.0.0.1';

export const packet = (seq: number, body = '') => encodePacket(1000, seq, 1, Buffer.from(body));
export const batch = (...packets: Uint8Array[]) => encodePacket(OP.RAW, 0, 1, Buffer.concat(packets));

export interface ListeningTcp extends Pick<NotedHandlers, 'events' | 'channels'> {
  readonly listener: TcpListener;
  readonly port: number;
}

export class TcpHarness {
  readonly listeners: TcpListener[] = [];
  readonly #clients: GoimTcpSocket[] = [];

  /** A listener on a free port; every handler notes its call, then does what the test wants. */
  async listen(
    own: Partial<DoorHandlers> = {},
    options: Partial<TcpListenerOptions> = {},
    admission?: Admission,
  ): Promise<ListeningTcp> {
    const { handlers, events, channels } = notedHandlers(own);
    const port = options.port ?? (await probePort(HOST, 0, 'tcp_port'));
    const listener = new TcpListener(
      {
        host: HOST,
        port,
        maxBackpressureBytes: 65_536,
        maxBodyBytes: 4_096,
        authBodyBytes: 1_024,
        sharesPort: false,
        handshakeTimeoutMs: 5_000,
        ...options,
      },
      handlers,
      admission,
    );
    this.listeners.push(listener);
    await listener.listen();
    return { listener, port, events, channels };
  }

  /** @param socket one that connects, where it is not to be a plain one */
  async client(port: number, socket?: Socket): Promise<GoimTcpSocket> {
    const own = await GoimTcpSocket.open(port, socket);
    this.#clients.push(own);
    return own;
  }

  close(): void {
    for (const client of this.#clients.splice(0)) client.destroy();
    for (const listener of this.listeners.splice(0)) listener.closeAll();
  }
}
