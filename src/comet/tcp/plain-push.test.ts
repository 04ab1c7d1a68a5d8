import { describe, expect, it } from 'vitest';
import { encodePacket, OP } from '../../protocol/index.js';
import { FanoutGroup } from '../bucket/fanout-group.js';
import { outerBytesOf, outerBytesOfTopic } from './plain-push.js';

const NO_BODY = new Uint8Array(0);
const inner = encodePacket(1000, 0, 1, new TextEncoder().encode('one'));

describe('the outer header of a plain push', () => {
  it('is 16 bytes on the plain topic of a group and nothing on the extended one', () => {
    const group = new FanoutGroup({} as never, 'room-1', NO_BODY);
    expect([group.topicPlain, group.topicExtended].map(outerBytesOfTopic)).toEqual([16, 0]);
  });

  it.each([
    ['one packet', [inner]],
    ['several packets', [inner, encodePacket(-1, 0, 1), inner]],
    ['no packet', []],
  ])('is found in front of %s', (_, packets) => {
    expect(outerBytesOf(encodePacket(OP.RAW, 0, 1, Buffer.concat(packets)))).toBe(16);
  });

  it.each([
    ['another operation', encodePacket(OP.BATCH, 0, 1, inner)],
    ['a body that ends inside a packet', encodePacket(OP.RAW, 0, 1, inner.subarray(0, 18))],
    ['a body that ends inside a header', encodePacket(OP.RAW, 0, 1, inner.subarray(0, 15))],
    ['a body that is text', encodePacket(OP.RAW, 0, 1, new TextEncoder().encode('an answer of an application'))],
    ['a packet in the body that is shorter than a header', encodePacket(OP.RAW, 0, 1, new Uint8Array(16))],
    ['more bytes behind it', Buffer.concat([encodePacket(OP.RAW, 0, 1, inner), inner])],
    ['fewer bytes than a header', inner.subarray(0, 12)],
    ['nothing', NO_BODY],
  ])('is not taken from %s', (_, message) => {
    expect(outerBytesOf(message)).toBe(0);
  });
});
