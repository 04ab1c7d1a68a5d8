/**
 * Called for every packet of a client before it is handled: counts it and, where a rate limit is on, lets it pass or not.
 *
 * Threads: its bucket.
 * Hot path: with no limit configured, what `packetGate` gives counts and answers true; it knows of no limits.
 */
import type { Clock } from '../../clock/index.js';
import { CLOSE, type CloseCodeRow } from '../../errors/index.js';
import type { PacketHeader } from '../../protocol/index.js';
import { METRIC, type ThreadCounters } from '../../telemetry/index.js';
import type { Channel } from '../bucket/channel.js';
import { PacketRates, type PacketRatesOptions } from './packet-rates.js';

export interface PacketGateOptions extends PacketRatesOptions {
  readonly rateAction: 'close' | 'drop';
}

export interface PacketGateLinks {
  readonly clock: Clock;
  readonly counters: ThreadCounters;
  readonly close: (channel: Channel, row: CloseCodeRow, detail: string) => void;
}

/** True: handle the packet. False: it is dropped, or its channel is closed. */
export type PacketGate = (channel: Channel, header: PacketHeader) => boolean;

export function packetGate(options: PacketGateOptions, { clock, counters, close }: PacketGateLinks): PacketGate {
  if (options.packetsPerSec === 0 && options.bytesPerSec === 0) {
    return (_, { packetBytes }) => {
      counters.add(METRIC.packets_in, 1);
      counters.add(METRIC.bytes_in, packetBytes);
      return true;
    };
  }
  const rates = new PacketRates(options);
  const { rateAction } = options;
  return (channel, header) => {
    counters.add(METRIC.packets_in, 1);
    counters.add(METRIC.bytes_in, header.packetBytes);
    if (rates.take(channel.slot, channel.serial, header.op, header.packetBytes, clock.monotonicMs())) return true;
    if (rateAction === 'drop') {
      counters.add(METRIC.rate_dropped, 1);
      return false;
    }
    counters.add(METRIC.rate_closed, 1);
    close(channel, CLOSE.TOO_FAST, CLOSE.TOO_FAST.reason);
    return false;
  };
}
