import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import { allocateCounters, METRICS, readThread, ThreadCounters } from '../../telemetry/index.js';
import { AddressCounts, allocateAddressCounts } from './address-counts.js';
import { NO_TICKET } from './admission.js';
import { type AdmissionOptions, openAdmission } from './open-admission.js';
import { refusalBody, retryAfterS } from './refusal.js';

const OFF = {
  allowedOrigins: [],
  connectionsPerIp: 0,
  connectsPerSec: 0,
  connectsBurst: 1,
  proxyProtocol: 'off',
  trustedProxies: [],
  forwardedHeader: 'x-forwarded-for',
  reconnectWindowMs: 5000,
} as const satisfies AdmissionOptions & { reconnectWindowMs: number };

function rig(options: Partial<AdmissionOptions & { reconnectWindowMs: number }>) {
  const clock = new ManualClock(1_700_000_000_000);
  const memory = allocateCounters(METRICS, 1);
  const counters = new ThreadCounters(memory, 0);
  const addressCounts = new AddressCounts(allocateAddressCounts(2, 10, 64, 1), 1);
  const admission = openAdmission({ ...OFF, ...options }, { clock, counters, addressCounts });
  if (admission === undefined) throw new Error('no rule is on');
  return { admission, clock, addressCounts, counters: () => readThread(memory, 0) };
}

it('is nothing where no rule is on, so that no door has to ask', () => {
  const parts = { clock: new ManualClock(0), counters: new ThreadCounters(allocateCounters(METRICS, 1), 0) };
  expect(openAdmission(OFF, parts)).toBe(undefined);
});

describe('a connection', () => {
  it('of another origin is refused for good', () => {
    const { admission, counters } = rig({ allowedOrigins: ['https://example.com'] });
    expect([admission.checkOrigin('https://example.com'), admission.checkOrigin('')]).toEqual([undefined, undefined]);
    const refusal = admission.checkOrigin('https://evil.test')!;
    expect([refusal.status, JSON.parse(refusalBody(refusal)), retryAfterS(refusal)]).toEqual([
      '403 Forbidden',
      { code: 3506, reason: expect.stringContaining('limits.allowed_origins'), reconnect: false, retry_after_ms: 0 },
      undefined,
    ]);
    expect(counters().refused_origin).toBe(1);
  });

  it('above the limit of its address is refused for now, and none of another address is', () => {
    const { admission, counters } = rig({ connectionsPerIp: 1 });
    const ticket = admission.enter('192.0.2.1');
    const refusal = admission.enter('192.0.2.1');
    expect([typeof ticket, typeof admission.enter('192.0.2.2')]).toEqual(['number', 'number']);
    if (typeof refusal === 'number') throw new Error('admitted');
    expect([refusal.status, JSON.parse(refusalBody(refusal)), retryAfterS(refusal)]).toEqual([
      '429 Too Many Requests',
      { code: 3008, reason: expect.stringContaining('at most 1'), reconnect: true, retry_after_ms: 5000 },
      '5',
    ]);
    expect(counters().refused_per_ip).toBe(1);
    admission.leave(ticket as number);
    expect(typeof admission.enter('192.0.2.1')).toBe('number');
  });

  it('that comes too soon is refused until the bucket has refilled', () => {
    const { admission, clock, counters } = rig({ connectsPerSec: 2, connectsBurst: 2, reconnectWindowMs: 0 });
    const enter = () => {
      const entered = admission.enter('192.0.2.1');
      return typeof entered === 'number'
        ? entered
        : `${entered.status} ${retryAfterS(entered)} ${entered.retryAfterMs}`;
    };
    expect([enter(), enter(), enter()]).toEqual([NO_TICKET, NO_TICKET, '503 Service Unavailable 1 500']);
    clock.advance(499);
    expect(enter()).toBe('503 Service Unavailable 1 1');
    clock.advance(1);
    expect([enter(), enter()]).toEqual([NO_TICKET, '503 Service Unavailable 1 500']);
    expect(counters().refused_rate).toBe(3);
  });

  it('refused by one rule is not counted by the other', () => {
    const { admission, clock, addressCounts } = rig({ connectionsPerIp: 1, connectsPerSec: 1, connectsBurst: 2 });
    expect(admission.enter('192.0.2.1')).toBeGreaterThanOrEqual(0);
    // At the limit of its address, ten times: no token is spent.
    for (let count = 0; count < 10; count++)
      expect(admission.enter('192.0.2.1')).toMatchObject({ row: { code: 3008 } });
    expect(admission.enter('192.0.2.2')).toBeGreaterThanOrEqual(0);
    // No token left: the address is not counted either.
    expect(admission.enter('192.0.2.3')).toMatchObject({ row: { code: 3002 } });
    expect(addressCounts.countOf('192.0.2.3')).toBe(0);
    clock.advance(1000);
    expect(admission.enter('192.0.2.3')).toBeGreaterThanOrEqual(0);
  });
});

describe("the client's address", () => {
  it('is what our own proxies say, and the socket otherwise', () => {
    const { admission } = rig({ trustedProxies: ['10.0.0.0/8'] });
    expect(admission.forwardedHeader).toBe('x-forwarded-for');
    expect(admission.clientOf('http', '10.0.0.1', '', '203.0.113.5')).toBe('203.0.113.5');
    expect(admission.clientOf('http', '198.51.100.1', '192.0.2.66', '203.0.113.5')).toBe('198.51.100.1');
  });

  it('is what the PROXY protocol says, where it is on; a connection without it is refused', () => {
    const { admission, counters } = rig({ proxyProtocol: 'v2' });
    expect(admission.clientOf('http', '198.51.100.1', '203.0.113.5', '')).toBe('203.0.113.5');
    expect(admission.clientOf('http', '198.51.100.1', '', '')).toMatchObject({ status: '403 Forbidden' });
    expect([admission.forwardedHeader, counters().refused_proxy]).toEqual([undefined, 1]);
  });

  it('is what the PROXY protocol says on the TCP door alone, where only that one has it', () => {
    const { admission } = rig({ proxyProtocol: 'v2-tcp' });
    expect([admission.hasProxyHeader('tcp'), admission.hasProxyHeader('http')]).toEqual([true, false]);
    expect(admission.clientOf('tcp', '198.51.100.1', '203.0.113.5', '')).toBe('203.0.113.5');
    expect(admission.clientOf('tcp', '198.51.100.1', '', '')).toMatchObject({ status: '403 Forbidden' });
    expect(admission.clientOf('http', '198.51.100.1', '203.0.113.5', '')).toBe('198.51.100.1');
  });

  it('is what the PROXY protocol says only where one of our own proxies says it, and goes on from there', () => {
    const { admission } = rig({ proxyProtocol: 'v2', trustedProxies: ['10.0.0.0/8'] });
    expect(admission.clientOf('http', '10.0.0.1', '203.0.113.5', '')).toBe('203.0.113.5');
    expect(admission.clientOf('http', '10.0.0.1', '10.0.0.2', '203.0.113.5')).toBe('203.0.113.5');
    expect(admission.clientOf('http', '198.51.100.1', '203.0.113.5', '')).toMatchObject({ status: '403 Forbidden' });
  });
});
