import { beforeEach, describe, expect, it } from 'vitest';
import { OUTCOME, type Outcome, SEND_OUTCOME } from '../../errors/index.js';
import { FRAME_OP } from '../../push/index.js';
import { FakeSocket, UWS_ANSWER } from '../fixtures/fake-socket.js';
import { CHANNEL_FLAG, CHANNEL_STATE, Channel, type ChannelOwner } from './channel.js';
import { ChannelWriter } from './channel-writer.js';

let channel: Channel;
let socket: FakeSocket;
let writer: ChannelWriter;
let dropped: Channel[];
let frameCount: number;
let idOutcome: Outcome;

beforeEach(() => {
  channel = new Channel({} as ChannelOwner);
  socket = new FakeSocket();
  channel.socket = socket.asSocket;
  channel.state = CHANNEL_STATE.READY;
  dropped = [];
  frameCount = 0;
  idOutcome = OUTCOME.OK;
  writer = new ChannelWriter({
    onDropped: (each) => dropped.push(each),
    onFrame: () => {
      frameCount += 1;
    },
    writeId: (bytes, offset) => {
      bytes.fill(0, offset, offset + 7);
      bytes[offset + 7] = 9;
      return idOutcome;
    },
  });
});

const hex = () => socket.frames.map((frame) => Buffer.from(frame).toString('hex'));

describe('a reply', () => {
  it('is a bare packet with a body of bytes, text or nothing', () => {
    writer.packet(channel, 8, 42, 7);
    writer.packet(channel, 1000, 1, 1, 'ü');
    writer.packet(channel, 1000, 1, 1, new Uint8Array([1]));
    writer.int32Packet(channel, 3, 5, 3, 1);
    expect(hex()).toEqual([
      '0000001000100007000000080000002a',
      '0000001200100001000003e800000001c3bc',
      '0000001100100001000003e80000000101',
      '0000001400100003000000030000000500000001',
    ]);
    expect(frameCount).toBe(4);
  });

  it('may be larger than the scratch buffer', () => {
    for (const bodyBytes of [8_176, 8_177, 100_000]) {
      expect(writer.packet(channel, 1000, 1, 1, new Uint8Array(bodyBytes).fill(7))).toBe(SEND_OUTCOME.SENT);
      expect(socket.frames.pop()?.length).toBe(16 + bodyBytes);
    }
  });
});

describe("an application's push", () => {
  it('is wrapped as every push is', () => {
    writer.push(channel, 5, 'one');
    channel.flags |= CHANNEL_FLAG.EXTENDED;
    writer.push(channel, 5, 'one');
    const packet = '00000013001000010000000500000000' + '6f6e65';
    expect(hex()).toEqual([
      `00000023001000010000000900000000${packet}`,
      `0000003d001000010000001a000000000000${'00'.repeat(16)}0000000000000009${packet}`,
    ]);
  });

  it('of any size arrives whole', () => {
    for (const bodyBytes of [0, 8_140, 8_160, 8_161, 50_000]) {
      for (const extended of [false, true]) {
        channel.flags = extended ? CHANNEL_FLAG.EXTENDED : 0;
        writer.push(channel, 1000, 'x'.repeat(bodyBytes));
        expect(socket.take()).toEqual([`${extended ? 'direct@0+0 #9 ' : ''}1000 ${'x'.repeat(bodyBytes)}`]);
      }
    }
  });

  it('is dropped while the node may issue no ids', () => {
    channel.flags |= CHANNEL_FLAG.EXTENDED;
    idOutcome = OUTCOME.CLOSED;
    expect([writer.push(channel, 5, 'x'), socket.frames]).toEqual([SEND_OUTCOME.DROPPED, []]);
  });
});

describe('what uWS answers', () => {
  it('is passed on, and a drop is reported', () => {
    socket.answer = UWS_ANSWER.BUFFERED;
    expect(writer.packet(channel, 8, 1, 1)).toBe(SEND_OUTCOME.BUFFERED);
    socket.answer = UWS_ANSWER.DROPPED;
    expect(writer.packet(channel, 8, 1, 1)).toBe(SEND_OUTCOME.DROPPED);
    expect([dropped, frameCount]).toEqual([[channel], 1]);
  });

  it('is not asked where the channel is gone: its socket must not be touched', () => {
    channel.state = CHANNEL_STATE.CLOSED;
    socket.fate = 'cut';
    expect(writer.packet(channel, 8, 1, 1)).toBe(SEND_OUTCOME.CLOSED);
    channel.socket = undefined;
    expect(writer.frame(channel, FRAME_OP.TEXT, new Uint8Array(1))).toBe(SEND_OUTCOME.CLOSED);
    expect([dropped, frameCount]).toEqual([[], 0]);
  });
});
