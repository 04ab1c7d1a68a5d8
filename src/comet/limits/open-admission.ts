/**
 * The rules for connections that the configuration asks for, made; nothing where it asks for none.
 *
 * Threads: its bucket.
 */
import { ClientAddress, type ForwardedHeader } from '../../address/index.js';
import type { Clock } from '../../clock/index.js';
import type { ThreadCounters } from '../../telemetry/index.js';
import type { AddressCounts } from './address-counts.js';
import { Admission } from './admission.js';
import { OriginList } from './origin-list.js';
import { TokenBucket } from './token-bucket.js';

export interface AdmissionOptions {
  /** Empty: every origin. */
  readonly allowedOrigins: readonly string[];
  /** On the whole node; 0: no limit. */
  readonly connectionsPerIp: number;
  /** Of one bucket; 0: no limit. */
  readonly connectsPerSec: number;
  readonly connectsBurst: number;
  /** v2: on every door; v2-tcp: on the TCP door alone. */
  readonly proxyProtocol: 'off' | 'v2' | 'v2-tcp';
  readonly trustedProxies: readonly string[];
  readonly forwardedHeader: ForwardedHeader;
}

/**
 * @returns undefined where no rule is on: then a door need not look at who comes
 * @throws HalleyError ORIGIN_INVALID, TRUSTED_PROXY_INVALID
 */
export function openAdmission(
  options: AdmissionOptions & { readonly reconnectWindowMs: number },
  parts: {
    readonly clock: Clock;
    readonly counters: ThreadCounters;
    readonly addressCounts?: AddressCounts | undefined;
  },
): Admission | undefined {
  const { allowedOrigins, connectionsPerIp, connectsPerSec, connectsBurst, proxyProtocol, trustedProxies } = options;
  const isOn =
    allowedOrigins.length > 0 ||
    connectionsPerIp > 0 ||
    connectsPerSec > 0 ||
    proxyProtocol !== 'off' ||
    trustedProxies.length > 0;
  if (!isOn) return undefined;
  const { clock, counters, addressCounts } = parts;
  return new Admission({
    clock,
    counters,
    origins: new OriginList(allowedOrigins),
    clients: new ClientAddress(trustedProxies, options.forwardedHeader),
    proxyProtocol,
    counts: connectionsPerIp > 0 ? addressCounts : undefined,
    connectionsPerIp,
    connects: connectsPerSec > 0 ? new TokenBucket(connectsPerSec, connectsBurst, clock.monotonicMs()) : undefined,
    reconnectWindowMs: options.reconnectWindowMs,
  });
}
