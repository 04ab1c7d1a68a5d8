/**
 * The browser's WebSocket and timers behind the ports of the connection.
 */
import type { OpenSocket, Schedule } from '../socket.port.js';

const NO_BYTES = new Uint8Array(0);

export const openBrowserSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => events.onOpen();
  // A text message is nobody's on this wire: it reads as an empty one, which the frame reader refuses.
  socket.onmessage = ({ data }) => events.onMessage(data instanceof ArrayBuffer ? new Uint8Array(data) : NO_BYTES);
  socket.onclose = ({ code, reason }) => events.onClose(code, reason);
  return {
    send: (bytes) => socket.send(bytes),
    close: (code, reason) => socket.close(code, reason),
  };
};

export const scheduleInBrowser: Schedule = (delayMs, task) => {
  const timer = window.setTimeout(task, delayMs);
  return () => window.clearTimeout(timer);
};
