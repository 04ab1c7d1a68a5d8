import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import { OP } from '../../protocol/index.js';
import { PacketRates, type PacketRatesOptions } from './packet-rates.js';

const OFF: PacketRatesOptions = { packetsPerSec: 0, packetsBurst: 1, bytesPerSec: 0, bytesBurst: 1 };

function rig(options: Partial<PacketRatesOptions>) {
  const clock = new ManualClock(1_700_000_000_000);
  const rates = new PacketRates({ ...OFF, ...options });
  /** How many of `count` packets pass. */
  const send = (count: number, { slot = 0, serial = 7, op = 1000, bytes = 20 } = {}) => {
    let passed = 0;
    for (let sent = 0; sent < count; sent++) {
      if (rates.take(slot, serial, op, bytes, clock.monotonicMs())) passed += 1;
    }
    return passed;
  };
  return { clock, send };
}

describe('the packets of a channel', () => {
  it('pass up to the burst, then at the rate, and never more than the burst at once', () => {
    const { clock, send } = rig({ packetsPerSec: 10, packetsBurst: 5 });
    expect(send(20)).toBe(5);
    clock.advance(99);
    expect(send(1)).toBe(0);
    clock.advance(1);
    expect(send(5)).toBe(1);
    clock.advance(300);
    expect(send(5)).toBe(3);
    clock.advance(3_600_000);
    expect(send(20)).toBe(5);
  });

  it('over ten seconds are the burst and ten times the rate, however they come', () => {
    const { clock, send } = rig({ packetsPerSec: 10, packetsBurst: 5 });
    let passed = send(3);
    for (let tick = 0; tick < 1000; tick++) {
      clock.advance(10);
      passed += send(3);
    }
    expect(passed).toBeGreaterThanOrEqual(104);
    expect(passed).toBeLessThanOrEqual(105);
  });

  it('are counted for each channel alone, and a new channel in the same slot begins afresh', () => {
    const { send } = rig({ packetsPerSec: 1, packetsBurst: 2 });
    expect([send(3), send(3, { slot: 5000, serial: 8 }), send(3, { slot: 1, serial: 9 })]).toEqual([2, 2, 2]);
    expect([send(1), send(3, { serial: 10 })]).toEqual([0, 2]);
  });
});

describe('a heartbeat', () => {
  it('costs nothing, once a second', () => {
    const { clock, send } = rig({ packetsPerSec: 1, packetsBurst: 1, bytesPerSec: 1, bytesBurst: 20 });
    expect(send(1)).toBe(1);
    expect([send(1), send(1, { op: OP.HEARTBEAT, bytes: 16 })]).toEqual([0, 1]);
    clock.advance(500);
    expect(send(1, { op: OP.HEARTBEAT, bytes: 16 })).toBe(0);
    clock.advance(500);
    // The free one, and one for the token of the second that has passed; bytes refill by one only.
    expect(send(2, { op: OP.HEARTBEAT, bytes: 16 })).toBe(1);
  });

  it('with more of a body than an interval is a packet like any other', () => {
    const { send } = rig({ packetsPerSec: 1, packetsBurst: 1 });
    expect(send(3, { op: OP.HEARTBEAT, bytes: 21 })).toBe(1);
  });
});

describe('the bytes of a channel', () => {
  it('pass up to the burst, then at the rate', () => {
    const { clock, send } = rig({ bytesPerSec: 1000, bytesBurst: 2000 });
    expect(send(10, { bytes: 500 })).toBe(4);
    clock.advance(499);
    expect(send(1, { bytes: 500 })).toBe(0);
    clock.advance(1);
    expect(send(2, { bytes: 500 })).toBe(1);
  });

  it('that do not pass take no packet from the other limit', () => {
    const { clock, send } = rig({ packetsPerSec: 1, packetsBurst: 2, bytesPerSec: 1000, bytesBurst: 1000 });
    expect(send(1, { bytes: 1000 })).toBe(1);
    expect(send(5, { bytes: 1000 })).toBe(0);
    clock.advance(100);
    expect(send(1, { bytes: 100 })).toBe(1);
  });
});
