/**
 * Peer: Socket.IO 4, one thread, WebSocket only, compression off, `io.to(room).emit('m', text)`.
 *
 * The package is optional: the runner leaves this peer out where it is not installed, so its types stand here.
 *
 * Run: node socketio.peer.mjs <port>
 */
import { createServer } from 'node:http';
import { servePeer } from './peer.js';

/** The part of socket.io's Socket that is used. */
interface IoSocket {
  on(event: string, listener: (value: never) => void): void;
  emit(event: string, value?: string): void;
  join(room: string): void;
  leave(room: string): void;
}

interface Io {
  on(event: 'connection', listener: (socket: IoSocket) => void): void;
  to(room: string): { emit(event: string, value: string): void };
}

interface SocketIoModule {
  readonly Server: new (http: ReturnType<typeof createServer>, options: object) => Io;
}

const PACKAGE: string = 'socket.io';
const { Server } = (await import(PACKAGE)) as SocketIoModule;
const http = createServer();
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});
const sockets = new Map<string, IoSocket>();

io.on('connection', (socket) => {
  let current = '';
  const move = (room: string): void => {
    if (current !== '') socket.leave(current);
    if (room !== '') socket.join(room);
    current = room;
  };
  socket.on('auth', ({ key, room_id: room = '' }: { key: string; room_id?: string }) => {
    sockets.set(key, socket);
    move(room);
    socket.emit('ready');
  });
  socket.on('room', (room: string) => {
    move(room);
    socket.emit('room');
  });
  socket.on('beat', () => socket.emit('beat'));
  socket.on('echo', (text: string) => socket.emit('m', text));
});

http.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 }, () => {
  servePeer((target, body) => {
    const text = Buffer.from(body).toString('latin1');
    const socket = sockets.get(target);
    if (socket === undefined) io.to(target).emit('m', text);
    else socket.emit('m', text);
    return true;
  });
});
