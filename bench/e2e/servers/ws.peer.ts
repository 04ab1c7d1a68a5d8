/**
 * Peer: the `ws` package, one thread, broadcasting in a loop over the room's sockets. Compression is off.
 *
 * Run: node ws.peer.mjs <port>
 */
import { WebSocket, WebSocketServer } from 'ws';
import { makeBatch, OPERATION } from '../../../src/cli/bench/index.js';
import { handlePeerPacket, type PeerActions, servePeer } from './peer.js';

const port = Number(process.argv[2]);
const rooms = new Map<string, Set<WebSocket>>();
const roomOf = new WeakMap<WebSocket, string>();
const byKey = new Map<string, WebSocket>();

function publish(target: string, body: Uint8Array): boolean {
  const frame = makeBatch(OPERATION.PUSHED, [body]);
  for (const socket of rooms.get(target) ?? []) {
    if (socket.readyState === WebSocket.OPEN) socket.send(frame);
  }
  byKey.get(target)?.send(frame);
  return true;
}

function move(socket: WebSocket, room: string): void {
  rooms.get(roomOf.get(socket) ?? '')?.delete(socket);
  roomOf.set(socket, room);
  if (room === '') return;
  const members = rooms.get(room) ?? new Set();
  members.add(socket);
  rooms.set(room, members);
}

const actions: PeerActions<WebSocket> = {
  send: (socket, packet) => socket.send(packet),
  admit: (socket, key, room) => {
    byKey.set(key, socket);
    move(socket, room);
  },
  changeRoom: move,
};

const server = new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  socket.on('message', (data: Buffer) => handlePeerPacket(actions, socket, data));
});
server.on('listening', () => servePeer(publish));
