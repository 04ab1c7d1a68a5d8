/**
 * What the connection needs of a WebSocket, so that a test can play the server without one.
 */
export interface SocketEvents {
  readonly onOpen: () => void;
  /** One WebSocket message. The bytes are the receiver's to keep. */
  readonly onMessage: (bytes: Uint8Array) => void;
  /** The end, once. 1006: no close frame came. */
  readonly onClose: (code: number, reason: string) => void;
}

export interface Socket {
  /** Before `onOpen` and after `onClose`: not allowed. `bytes` are copied or sent before the call returns. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** @param code 1000, or 3000 to 4999: browsers allow no other */
  close(code: number, reason: string): void;
}

/** Start to open a socket; every event comes after the return. @throws where the URL is none, or the page may not use it */
export type OpenSocket = (url: string, events: SocketEvents) => Socket;

/** Run `task` once after `delayMs`. @returns cancel; no-op once the task has run */
export type Schedule = (delayMs: number, task: () => void) => () => void;
