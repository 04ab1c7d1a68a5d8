/**
 * WebSocket: the host's, or a constructor that the caller gives (`ws` in Node 20, which has none of its own).
 */
import { encodePacket, OP, PUSH_VER } from '../protocol/index.js';
import { hostGlobals } from './ports.js';
import { type Link, type LinkEvents, OWN_CODE, type Transport } from './transport.port.js';

/** What is used of a WebSocket. */
export interface WebSocketLike {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** `ws`: without waiting for the other side. */
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

export function webSocketTransport(options: { readonly WebSocket?: unknown } = {}): Transport {
  const Socket = (options.WebSocket ?? hostGlobals().WebSocket) as WebSocketConstructor | undefined;
  return {
    name: 'websocket',
    takes: (scheme) => Socket !== undefined && /^(?:ws|http)s?$/.test(scheme),
    open: (address, authBody, events) => open(Socket!, address.replace(/^http/, 'ws'), authBody, events),
  };
}

function open(Socket: WebSocketConstructor, url: string, authBody: Uint8Array<ArrayBuffer>, events: LinkEvents): Link {
  let socket: WebSocketLike | undefined;
  let isOpen = false;
  let isOver = false;
  const end = (code: number, reason: string): void => {
    if (isOver) return;
    isOver = true;
    events.onEnd({ code, reason });
  };
  try {
    const made = new Socket(url);
    socket = made;
    made.binaryType = 'arraybuffer';
    made.onopen = () => {
      if (isOver) return;
      isOpen = true;
      made.send(encodePacket(OP.AUTH, 0, PUSH_VER, authBody));
    };
    made.onmessage = ({ data }: { data: unknown }) => {
      if (!isOver && data instanceof ArrayBuffer) events.onMessage(new Uint8Array(data));
    };
    made.onclose = ({ code, reason }: { code: number; reason: string }) => end(code, reason);
    // Behind an error comes a close; `ws` throws one that nobody listens to.
    made.onerror = () => {};
  } catch (error) {
    // A browser refuses here what it would never allow, as ws:// from an https page. `open` must not call back before it returned.
    queueMicrotask(() => end(OWN_CODE.NOT_OPENED, String(error)));
  }
  return {
    send: (packet) => {
      if (isOpen && !isOver) socket?.send(packet);
    },
    close: (code) => {
      if (isOver) return;
      isOver = true;
      if (code === OWN_CODE.BYE) socket?.close(code);
      else if (socket?.terminate === undefined) socket?.close();
      else socket.terminate();
    },
  };
}
