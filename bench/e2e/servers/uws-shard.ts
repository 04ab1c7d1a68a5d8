/**
 * A bare uWebSockets.js app: what both the one-threaded peer and each worker of the threaded one run.
 *
 * Source: the settings of facts/peerbench: compression off, 4 MiB backpressure, no idle timeout, publish without merging.
 */
import uWS, { type WebSocket } from 'uWebSockets.js';
import type { Feed } from '../wire/feed.js';
import { makeBatch, OPERATION } from '../wire/packet.js';
import { handlePeerPacket, type PeerActions } from './peer.js';

const MAX_BACKPRESSURE_BYTES = 4 * 1024 * 1024;
const MAX_PAYLOAD_BYTES = 64 * 1024;

export type UwsSocket = WebSocket<object>;

export interface UwsShardOptions {
  readonly port: number;
  readonly onFeed: (socket: UwsSocket, feed: Feed) => void;
}

export class UwsShard {
  readonly #app = uWS.App();
  readonly #port: number;
  readonly #byKey = new Map<string, UwsSocket>();

  constructor({ port, onFeed }: UwsShardOptions) {
    this.#port = port;
    const actions: PeerActions<UwsSocket> = {
      send: (socket, packet) => void socket.send(packet, true),
      admit: (socket, key, room) => {
        this.#byKey.set(key, socket);
        if (room !== '') socket.subscribe(room);
      },
      feed: onFeed,
    };
    this.#app.ws<object>('/*', {
      compression: 0,
      maxBackpressure: MAX_BACKPRESSURE_BYTES,
      maxPayloadLength: MAX_PAYLOAD_BYTES,
      idleTimeout: 0,
      sendPingsAutomatically: false,
      message: (socket, data) => handlePeerPacket(actions, socket, new Uint8Array(data)),
    });
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#app.listen('127.0.0.1', this.#port, (token) => {
        if (token === false) reject(new Error(`uWS cannot listen: port=${this.#port}`));
        else resolve();
      });
    });
  }

  /** To a room or to the socket of a key, whichever bears the name: one frame holding all `bodies`. */
  publish(target: string, bodies: readonly Uint8Array[]): void {
    const frame = makeBatch(OPERATION.PUSHED, bodies);
    const socket = this.#byKey.get(target);
    if (socket === undefined) this.#app.publish(target, frame, true, false);
    else socket.send(frame, true, false);
  }
}
