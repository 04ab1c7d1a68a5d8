/**
 * Socket.IO 4 (Engine.IO 4) over a bare WebSocket, as little of it as the bench needs: the handshake, an `auth` event that
 * names key and room, and messages as `["m", text]` (the form facts/peerbench measured).
 *
 * Server frames, all text: `0{...}` open, `2` ping (answered `3`), `40{...}` connected, `42["event",...]`.
 */
import { FRAME_OPCODE, makeClientFrame } from '../wire/frame.js';
import { MESSAGE_BYTES } from '../wire/message.layout.js';
import type { Dialect } from './dialect.port.js';

export const SOCKETIO_PATH = '/socket.io/?EIO=4&transport=websocket';
const MESSAGE_HEAD = '42["m","';
const MESSAGE_TAIL = '"]';
const [CHAR_0, CHAR_2, CHAR_4, CHAR_M] = ['0', '2', '4', 'm'].map((char) => char.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
];
/** Where the event's name starts in `42["m",...`. */
const EVENT_OFFSET = 4;

function text(payload: string): Uint8Array {
  return makeClientFrame(Buffer.from(payload, 'latin1'), FRAME_OPCODE.TEXT);
}

export function socketioDialect(): Dialect {
  return {
    isBare: false,
    hello: () => undefined,
    read: (connection, opcode, bytes, start, end) => {
      if (opcode !== FRAME_OPCODE.TEXT) return;
      const type = bytes[start];
      if (type === CHAR_2) {
        connection.sendFrame(text('3'));
      } else if (type === CHAR_0) {
        connection.sendFrame(text('40'));
      } else if (type === CHAR_4 && bytes[start + 1] === CHAR_0) {
        connection.sendFrame(text(`42["auth",${connection.authBody}]`));
      } else if (type === CHAR_4 && bytes[start + 1] === CHAR_2) {
        const bodyStart = start + MESSAGE_HEAD.length;
        if (bytes[start + EVENT_OFFSET] === CHAR_M && bytes[start + EVENT_OFFSET + 1] === MESSAGE_HEAD.charCodeAt(5)) {
          const bodyBytes = end - bodyStart - MESSAGE_TAIL.length;
          if (bodyBytes !== MESSAGE_BYTES) throw new Error(`not our message: body_bytes=${bodyBytes}`);
          connection.onMessage(bytes, bodyStart);
          return;
        }
        const event = Buffer.from(bytes.subarray(start, end)).toString('latin1');
        if (event.startsWith('42["ready"')) connection.onReady();
        else if (event.startsWith('42["beat"')) connection.onHeartbeatReply();
        else if (event.startsWith('42["room"')) connection.onRoomChanged();
        else throw new Error(`not our event: ${event.slice(0, 40)}`);
      } else {
        throw new Error(`not a Socket.IO frame of the bench: ${Buffer.from(bytes.subarray(start, end)).toString()}`);
      }
    },
    heartbeat: () => text('42["beat"]'),
    echo: (_number, message) => text(`42["echo","${Buffer.from(message).toString('latin1')}"]`),
    changeRoom: (room) => text(`42["room",${JSON.stringify(room)}]`),
  };
}
