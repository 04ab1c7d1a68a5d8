/** The doors of a node from the outside: WebSocket and TCP here, the HTTP fallbacks in door-fallbacks.ts; and the table of all. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import WebSocket from 'ws';
import { encodePacket, OP } from '../../src/protocol/index.js';
import { type Door, type DoorLink, type DoorLinkEvents, type DoorNode, TOLD_NOTHING } from './door-client.js';
import { fallbackDoor } from './door-fallbacks.js';

const AUTH_SEQ = 1;

function authPacket(authBody: string): Uint8Array {
  return encodePacket(OP.AUTH, AUTH_SEQ, 1, Buffer.from(authBody));
}

function webSocketDoor(name: string, urlOf: (node: DoorNode) => string): Door {
  return {
    name,
    isMute: false,
    isHttp: false,
    isKeptByReading: false,
    open: (node, authBody, events) => openWebSocket(urlOf(node), node.ca, authBody, events),
  };
}

function openWebSocket(url: string, ca: string, authBody: string, events: DoorLinkEvents): DoorLink {
  const socket = new WebSocket(url, { perMessageDeflate: false, ca });
  socket.on('open', () => socket.send(authPacket(authBody)));
  socket.on('message', (data) => events.bytes(data as Buffer, true));
  socket.on('close', (code, reason) => events.closed({ code, reason: reason.toString() }));
  // 'close' follows.
  socket.on('error', () => {});
  return {
    send: (bytes) => socket.send(bytes),
    close: () => socket.close(),
    cut: () => socket.terminate(),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
}

/** @param connectTo a socket on its way to the node's port, with TLS or without */
function tcpDoor(name: string, connectTo: (node: DoorNode) => Socket): Door {
  return {
    name,
    isMute: true,
    isHttp: false,
    isKeptByReading: false,
    open: (node, authBody, events) => {
      const socket = connectTo(node).setNoDelay();
      socket.write(authPacket(authBody));
      socket.on('data', (chunk: Buffer) => events.bytes(chunk, false));
      socket.on('close', () => events.closed({ code: TOLD_NOTHING, reason: '' }));
      socket.on('error', () => {});
      return {
        send: (bytes) => void socket.write(bytes),
        close: () => void socket.end(),
        cut: () => void socket.destroy(),
        pause: () => void socket.pause(),
        resume: () => void socket.resume(),
      };
    },
  };
}

/** Every door that a node has. */
export const DOORS: readonly Door[] = [
  webSocketDoor('ws', ({ wsUrl }) => wsUrl),
  webSocketDoor('wss', ({ wssUrl }) => wssUrl),
  tcpDoor('tcp', ({ tcpPort }) => connect({ host: '127.0.0.1', port: tcpPort })),
  tcpDoor('tcp over TLS', ({ tcpTlsPort, ca }) => connectTls({ host: '127.0.0.1', port: tcpTlsPort, ca })),
  fallbackDoor('sse', 'sse', ({ wsUrl }) => wsUrl),
  fallbackDoor('sse over https', 'sse', ({ wssUrl }) => wssUrl),
  fallbackDoor('poll', 'poll', ({ wsUrl }) => wsUrl),
  fallbackDoor('poll over https', 'poll', ({ wssUrl }) => wssUrl),
];
