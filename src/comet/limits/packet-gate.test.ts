import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import { OP, PacketHeader } from '../../protocol/index.js';
import { allocateCounters, METRICS, readThread, ThreadCounters } from '../../telemetry/index.js';
import { Channel, type ChannelOwner } from '../bucket/channel.js';
import { type PacketGateOptions, packetGate } from './packet-gate.js';

const OFF: PacketGateOptions = {
  packetsPerSec: 0,
  packetsBurst: 1,
  bytesPerSec: 0,
  bytesBurst: 1,
  rateAction: 'close',
};

function rig(options: Partial<PacketGateOptions>) {
  const clock = new ManualClock(1_700_000_000_000);
  const memory = allocateCounters(METRICS, 1);
  const closed: string[] = [];
  const gate = packetGate(
    { ...OFF, ...options },
    {
      clock,
      counters: new ThreadCounters(memory, 0),
      close: (_, { code }, detail) => void closed.push(`${code} ${detail}`),
    },
  );
  const channel = new Channel({} as ChannelOwner);
  channel.slot = 3;
  channel.serial = 1;
  const header = new PacketHeader();
  const send = (op = 1000, packetBytes = 20) => {
    header.op = op;
    header.packetBytes = packetBytes;
    return gate(channel, header);
  };
  return { clock, send, closed, counters: () => readThread(memory, 0) };
}

describe('a packet', () => {
  it('passes and is counted where no limit is on', () => {
    const { send, counters } = rig({});
    for (let count = 0; count < 1000; count++) expect(send()).toBe(true);
    expect(counters()).toMatchObject({ packets_in: 1000, bytes_in: 20_000, rate_closed: 0, rate_dropped: 0 });
  });

  it('above the rate costs its channel, with a code that lets it come back', () => {
    const { send, closed, counters, clock } = rig({ packetsPerSec: 10, packetsBurst: 2 });
    expect([send(), send(), send(OP.HEARTBEAT, 16), send()]).toEqual([true, true, true, false]);
    expect([closed, counters().rate_closed, counters().packets_in]).toEqual([['3009 too fast'], 1, 4]);
    clock.advance(100);
    expect(send()).toBe(true);
  });

  it('above the rate is dropped where the operator says so, and passes again when there are tokens', () => {
    const { send, closed, counters, clock } = rig({ bytesPerSec: 100, bytesBurst: 40, rateAction: 'drop' });
    expect([send(), send(), send(), send()]).toEqual([true, true, false, false]);
    clock.advance(200);
    expect([send(), send()]).toEqual([true, false]);
    expect([closed, counters().rate_dropped]).toEqual([[], 3]);
  });
});
