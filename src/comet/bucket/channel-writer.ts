/**
 * Writes packets to single channels: replies, control packets, and finished direct pushes.
 *
 * Threads: its bucket.
 * Guarantees: uWS copies what it is given before send() returns, so one scratch buffer serves every reply. A write that
 *   uWS drops marks the channel slow.
 */
import { OUTCOME, type Outcome, SEND_OUTCOME, type SendOutcome } from '../../errors/index.js';
import {
  batch26HeaderBytes,
  encodePacket,
  OP,
  PACKET_HEADER_BYTES,
  PUSH_SEQ,
  PUSH_VER,
  writeBatch26Header,
  writePacketHeader,
} from '../../protocol/index.js';
import { FRAME_OP, type FrameOp } from '../../push/index.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import { SOCKET_ANSWER } from './channel-socket.js';

const NO_BODY = new Uint8Array(0);
const SCRATCH_BYTES = 8_192;
const MESSAGE_ID_BYTES = 8;
/** Of an op-26 batch with one direct message: everything in front of its packet. */
const EXTENDED_HEADER_BYTES = batch26HeaderBytes(0) + MESSAGE_ID_BYTES;

export interface ChannelWriterLinks {
  readonly onDropped: (channel: Channel) => void;
  readonly onFrame: () => void;
  /** Write a fresh message id, 8 bytes; not OK where the node may not issue ids. */
  readonly writeId: (bytes: Uint8Array, offset: number) => Outcome;
}

export class ChannelWriter {
  readonly #links: ChannelWriterLinks;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  readonly #scratchView = new DataView(this.#scratch.buffer);
  readonly #utf8 = new TextEncoder();
  readonly #heartbeatReply = new Uint8Array(PACKET_HEADER_BYTES + 4);
  readonly #heartbeatView = new DataView(this.#heartbeatReply.buffer);

  constructor(links: ChannelWriterLinks) {
    this.#links = links;
  }

  /** One bare packet. `body` is copied. */
  packet(channel: Channel, op: number, seq: number, ver: number, body: Uint8Array | string = NO_BODY): SendOutcome {
    const bytes = typeof body === 'string' ? this.#utf8.encode(body) : body;
    const packetBytes = PACKET_HEADER_BYTES + bytes.length;
    if (packetBytes > SCRATCH_BYTES) return this.raw(channel, encodePacket(op, seq, ver, bytes));
    writePacketHeader(this.#scratchView, 0, packetBytes, ver, op, seq);
    this.#scratch.set(bytes, PACKET_HEADER_BYTES);
    return this.raw(channel, this.#scratch.subarray(0, packetBytes));
  }

  /**
   * An application's packet to one channel, wrapped as every push is (op 9, or op 26 with an id), so that downstream
   * operations never collide with control packets. `body` is copied.
   */
  push(channel: Channel, op: number, body: Uint8Array | string): SendOutcome {
    const bytes = typeof body === 'string' ? this.#utf8.encode(body) : body;
    const extended = channel.has(CHANNEL_FLAG.EXTENDED);
    const headerBytes = extended ? EXTENDED_HEADER_BYTES : PACKET_HEADER_BYTES;
    const packetBytes = PACKET_HEADER_BYTES + bytes.length;
    const messageBytes = headerBytes + packetBytes;
    const isSmall = messageBytes <= SCRATCH_BYTES;
    const message = isSmall ? this.#scratch : new Uint8Array(messageBytes);
    const view = isSmall ? this.#scratchView : new DataView(message.buffer);
    if (extended) {
      const idOffset = writeBatch26Header(view, message, 0, messageBytes, NO_BODY, 0, 0);
      if (this.#links.writeId(message, idOffset) !== OUTCOME.OK) return SEND_OUTCOME.DROPPED;
    } else {
      writePacketHeader(view, 0, messageBytes, PUSH_VER, OP.RAW, PUSH_SEQ);
    }
    writePacketHeader(view, headerBytes, packetBytes, PUSH_VER, op, PUSH_SEQ);
    message.set(bytes, headerBytes + PACKET_HEADER_BYTES);
    return this.raw(channel, message.subarray(0, messageBytes));
  }

  /** A packet whose body is one int32: the answer to a heartbeat. Allocates nothing. */
  int32Packet(channel: Channel, op: number, seq: number, ver: number, value: number): SendOutcome {
    writePacketHeader(this.#heartbeatView, 0, this.#heartbeatReply.length, ver, op, seq);
    this.#heartbeatView.setInt32(PACKET_HEADER_BYTES, value);
    return this.raw(channel, this.#heartbeatReply);
  }

  /** Finished wire bytes as one binary WebSocket message. Valid until return is enough: uWS copies. */
  raw(channel: Channel, bytes: Uint8Array): SendOutcome {
    return this.frame(channel, FRAME_OP.BINARY, bytes);
  }

  frame(channel: Channel, opCode: FrameOp, bytes: Uint8Array): SendOutcome {
    const { socket } = channel;
    if (socket === undefined || channel.state === CHANNEL_STATE.CLOSED) return SEND_OUTCOME.CLOSED;
    const answer = opCode === FRAME_OP.PING ? socket.ping(bytes) : socket.send(bytes, opCode !== FRAME_OP.TEXT);
    if (answer === SOCKET_ANSWER.SENT || answer === SOCKET_ANSWER.BUFFERED) {
      this.#links.onFrame();
      return answer === SOCKET_ANSWER.SENT ? SEND_OUTCOME.SENT : SEND_OUTCOME.BUFFERED;
    }
    this.#links.onDropped(channel);
    return SEND_OUTCOME.DROPPED;
  }
}
