/**
 * A bare uWebSockets.js app: what both the one-threaded peer and each worker of the threaded ones run.
 *
 * Source: the settings of facts/peerbench: compression off, 4 MiB backpressure, no idle timeout, publish without merging.
 */
import uWS, { type WebSocket } from 'uWebSockets.js';
import { handlePeerPacket, type PeerActions } from './peer.js';

const MAX_BACKPRESSURE_BYTES = 4 * 1024 * 1024;
const MAX_PAYLOAD_BYTES = 64 * 1024;

interface SocketData {
  key: string;
  room: string;
}
type UwsSocket = WebSocket<SocketData>;

/** Who is told what this shard holds. */
export interface ShardListener {
  onKey(key: string, isHere: boolean): void;
  /** One member more, or less. */
  onMember(room: string, isHere: boolean): void;
}

const NOBODY: ShardListener = { onKey: () => undefined, onMember: () => undefined };

export class UwsShard {
  readonly #app = uWS.App();
  readonly #port: number;
  readonly #byKey = new Map<string, UwsSocket>();

  constructor(port: number, listener: ShardListener = NOBODY) {
    this.#port = port;
    const move = (socket: UwsSocket, room: string): void => {
      const data = socket.getUserData();
      if (data.room !== '') {
        socket.unsubscribe(data.room);
        listener.onMember(data.room, false);
      }
      data.room = room;
      if (room === '') return;
      socket.subscribe(room);
      listener.onMember(room, true);
    };
    const actions: PeerActions<UwsSocket> = {
      send: (socket, packet) => void socket.send(packet, true),
      admit: (socket, key, room) => {
        socket.getUserData().key = key;
        this.#byKey.set(key, socket);
        listener.onKey(key, true);
        move(socket, room);
      },
      changeRoom: move,
    };
    this.#app.ws<SocketData>('/*', {
      compression: 0,
      maxBackpressure: MAX_BACKPRESSURE_BYTES,
      maxPayloadLength: MAX_PAYLOAD_BYTES,
      idleTimeout: 0,
      sendPingsAutomatically: false,
      upgrade: (response, request, context) =>
        response.upgrade<SocketData>(
          { key: '', room: '' },
          request.getHeader('sec-websocket-key'),
          request.getHeader('sec-websocket-protocol'),
          request.getHeader('sec-websocket-extensions'),
          context,
        ),
      message: (socket, data) => handlePeerPacket(actions, socket, new Uint8Array(data)),
      close: (socket) => {
        const { key, room } = socket.getUserData();
        if (this.#byKey.get(key) === socket) {
          this.#byKey.delete(key);
          listener.onKey(key, false);
        }
        if (room !== '') listener.onMember(room, false);
      },
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

  /** A frame to a room or to the socket of a key, whichever bears the name. The bytes are read before it returns. */
  publish(target: string, frame: Uint8Array): void {
    const socket = this.#byKey.get(target);
    if (socket === undefined) this.#app.publish(target, frame, true, false);
    else socket.send(frame, true, false);
  }
}
