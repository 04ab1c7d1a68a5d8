import { describe, expect, it } from 'vitest';
import { SEND_OUTCOME } from '../../errors/index.js';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { CHANNEL_STATE } from './channel.js';
import { remoteAddressOf } from './channel-socket.js';

describe('an address', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['0000:0000:0000:0000:0000:ffff:7f00:0001', '127.0.0.1'],
    ['0000:0000:0000:0000:0000:ffff:ffff:fffe', '255.255.255.254'],
    ['0000:0000:0000:0000:0000:0000:0000:0001', '0000:0000:0000:0000:0000:0000:0000:0001'],
  ])('%s is told as %s', (text, address) => {
    const { channel, socket } = new BucketParts().channel();
    socket.address = text;
    expect([remoteAddressOf(socket.asSocket), channel.remoteAddress()]).toEqual([address, address]);
  });
});

describe('a channel as its application sees it', () => {
  it('names itself, its user, its facts and its rooms, the primary one first', () => {
    const bucket = new BucketParts();
    const { channel } = bucket.channel({ key: 'device' });
    channel.userMid = 7;
    expect([channel.id(), channel.mid(), channel.meta(), channel.rooms()]).toEqual(['device', 7, {}, []]);
    bucket.enter(channel, 'live://2');
    bucket.enter(channel, 'live://1', true);
    channel.metaFacts = { vip: 'yes' };
    expect([channel.meta(), channel.rooms()]).toEqual([{ vip: 'yes' }, ['live://1', 'live://2']]);
  });

  it('takes pushes once it is ready, and none after its end', () => {
    const bucket = new BucketParts();
    const { channel, socket } = bucket.channel({ state: CHANNEL_STATE.CONNECTING });
    expect(channel.push('early')).toBe(SEND_OUTCOME.CLOSED);
    channel.state = CHANNEL_STATE.READY;
    expect([channel.push('x'), channel.push('y', 1000)]).toEqual([SEND_OUTCOME.SENT, SEND_OUTCOME.SENT]);
    expect(socket.take()).toEqual(['5 x', '1000 y']);
    channel.close();
    expect([channel.push('late'), channel.remoteAddress(), socket.fate]).toEqual([
      SEND_OUTCOME.CLOSED,
      '',
      'ended 3501 closed by the application',
    ]);
    channel.close();
  });

  it('sets its own idle deadline', () => {
    const bucket = new BucketParts();
    const { channel } = bucket.channel();
    channel.setReadWait(1_234);
    expect(bucket.events).toEqual(['idle 1234']);
  });
});
