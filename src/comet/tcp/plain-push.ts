/**
 * The outer header of a plain push (op 9): a frame for WebSocket messages. goim writes an op-9 packet's body and nothing
 * else on TCP, so a client there sees the inner packets as ordinary ones.
 *
 * Threads: pure functions.
 * Hot path: both; nothing is allocated.
 */
import { OP, OP_OFFSET, PACKET_HEADER_BYTES, readInt32 } from '../../protocol/index.js';

/** 'p': the first letter of the topics that carry plain pushes (FanoutGroup). */
const PLAIN_FORM = 'p'.charCodeAt(0);

/** Bytes at the beginning of what is published to the topic that are not for TCP. */
export function outerBytesOfTopic(topic: string): number {
  return topic.charCodeAt(0) === PLAIN_FORM ? PACKET_HEADER_BYTES : 0;
}

/**
 * Likewise of one message to a single channel. Only where the body is whole packets, each with an exact length: an
 * application may answer a client's op 9 with whatever it likes, and bare that would be the end of the stream's framing.
 */
export function outerBytesOf(message: Uint8Array): number {
  const messageBytes = message.length;
  if (messageBytes < PACKET_HEADER_BYTES || readInt32(message, OP_OFFSET) !== OP.RAW) return 0;
  if (readInt32(message, 0) !== messageBytes) return 0;
  let offset = PACKET_HEADER_BYTES;
  while (offset < messageBytes) {
    if (offset + PACKET_HEADER_BYTES > messageBytes) return 0;
    const packetBytes = readInt32(message, offset);
    if (packetBytes < PACKET_HEADER_BYTES || packetBytes > messageBytes - offset) return 0;
    offset += packetBytes;
  }
  return PACKET_HEADER_BYTES;
}
