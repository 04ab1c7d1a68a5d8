/**
 * Writes packets to single channels: replies, control packets, and finished direct pushes.
 *
 * Threads: its bucket.
 * Guarantees: uWS copies what it is given before send() returns, so one scratch buffer serves every reply. A write that
 *   uWS drops marks the channel slow.
 */
import { SEND_OUTCOME, type SendOutcome } from '../../errors/index.js';
import { encodePacket, PACKET_HEADER_BYTES, writePacketHeader } from '../../protocol/index.js';
import { FRAME_OP, type FrameOp } from '../../push/index.js';
import { CHANNEL_STATE, type Channel } from './channel.js';

/** What uWS answers to send(). */
const UWS_SENT = 1;
const UWS_BUFFERED = 0;

const NO_BODY = new Uint8Array(0);
const SCRATCH_BYTES = 8_192;

export interface ChannelWriterLinks {
  readonly onDropped: (channel: Channel) => void;
  readonly onFrame: () => void;
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
    const ws = channel.ws;
    if (ws === undefined || channel.state === CHANNEL_STATE.CLOSED) return SEND_OUTCOME.CLOSED;
    const answer = opCode === FRAME_OP.PING ? ws.ping(bytes) : ws.send(bytes, opCode !== FRAME_OP.TEXT);
    if (answer === UWS_SENT || answer === UWS_BUFFERED) {
      this.#links.onFrame();
      return answer === UWS_SENT ? SEND_OUTCOME.SENT : SEND_OUTCOME.BUFFERED;
    }
    this.#links.onDropped(channel);
    return SEND_OUTCOME.DROPPED;
  }
}
