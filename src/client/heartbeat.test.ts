import { describe, expect, it } from 'vitest';
import { AdaptiveInterval, DEFAULT_INTERVAL_LIMITS } from './adaptive-interval.js';
import { FakeTimers } from './fixtures/fake-timers.js';
import { Heartbeat } from './heartbeat.js';
import { memoryStorage } from './ports.js';

const DEADLINE_MS = 10_000;

/**
 * A line behind a NAT that forgets it after so long without a packet; a client that comes back at once when it finds it dead.
 * What a heartbeat's body says is kept.
 */
class NatLine {
  readonly timers = new FakeTimers();
  readonly storage = memoryStorage();
  readonly interval = new AdaptiveInterval(this.storage, DEFAULT_INTERVAL_LIMITS);
  readonly announced: number[] = [];
  readonly beatsMs: number[] = [];
  /** From the last packet to the moment in which the client noticed that the line is dead. */
  readonly noticedMs: number[] = [];
  readonly natMs: number;
  readonly heartbeat: Heartbeat;
  #lastPacketMs = 0;

  constructor(natMs: number) {
    this.natMs = natMs;
    this.interval.useNetwork('wifi');
    this.heartbeat = new Heartbeat(this.timers, this.interval, DEADLINE_MS, {
      send: (body) => this.#beat(body),
      dead: () => {
        this.noticedMs.push(this.timers.nowMs() - this.#lastPacketMs);
        this.heartbeat.stop(true);
        this.open();
      },
    });
    this.open();
  }

  open(): void {
    this.#lastPacketMs = this.timers.nowMs();
    this.heartbeat.start();
  }

  /** A push arrives, if the NAT still knows the line. */
  push(): void {
    if (this.timers.nowMs() - this.#lastPacketMs >= this.natMs) return;
    this.#lastPacketMs = this.timers.nowMs();
    this.heartbeat.alive();
    this.heartbeat.traffic();
  }

  #beat(body: Uint8Array): void {
    const nowMs = this.timers.nowMs();
    this.beatsMs.push(nowMs);
    this.announced.push(new DataView(body.buffer).getInt32(0));
    if (nowMs - this.#lastPacketMs >= this.natMs) return;
    this.#lastPacketMs = nowMs;
    this.timers.schedule(50, () => {
      this.#lastPacketMs = this.timers.nowMs();
      this.heartbeat.alive();
    });
  }
}

describe('the adaptive heartbeat', () => {
  it('finds the longest interval that a NAT of 150 s allows, and holds it', () => {
    const line = new NatLine(150_001);
    line.timers.advance(3_600_000);
    expect(line.interval.intervalS).toBe(150);
    expect(line.interval.isHeld).toBe(true);
    expect(line.noticedMs).toHaveLength(1);
    line.timers.advance(24 * 3_600_000);
    expect(line.interval.intervalS).toBe(150);
    expect(line.noticedMs).toHaveLength(1);
  });

  it('stays one step below where the NAT forgets at exactly one of its steps', () => {
    const line = new NatLine(150_000);
    line.timers.advance(3_600_000);
    expect(line.interval.intervalS).toBe(120);
  });

  it('goes up to 300 s where nothing forgets, and no further', () => {
    const line = new NatLine(Number.POSITIVE_INFINITY);
    line.timers.advance(2 * 3_600_000);
    expect(line.interval.intervalS).toBe(300);
    expect(line.noticedMs).toEqual([]);
  });

  it('notices a dead line within the interval and the deadline', () => {
    for (const natMs of [70_000, 150_000, 200_000, 290_000]) {
      const line = new NatLine(natMs);
      line.timers.advance(3_600_000);
      expect(line.noticedMs).toHaveLength(1);
      const failedS = line.interval.intervalS + DEFAULT_INTERVAL_LIMITS.stepS;
      expect(line.noticedMs[0]).toBeLessThanOrEqual(failedS * 1000 + DEADLINE_MS);
    }
  });

  it('tells the server the longest interval that may follow', () => {
    const line = new NatLine(150_001);
    line.timers.advance(3_600_000);
    for (let index = 1; index < line.beatsMs.length; index++) {
      const sinceS = (line.beatsMs[index]! - line.beatsMs[index - 1]!) / 1000;
      expect(sinceS).toBeLessThanOrEqual(line.announced[index - 1]! + 0.1);
    }
    expect(line.announced.slice(0, 3)).toEqual([90, 120, 150]);
    expect(line.announced.at(-1)).toBe(150);
  });

  it('learns nothing from an interval with traffic, which keeps a NAT open', () => {
    const line = new NatLine(90_000);
    for (let minute = 0; minute < 120; minute++) {
      line.timers.advance(30_000);
      line.push();
    }
    expect(line.interval.intervalS).toBe(60);
    expect(line.noticedMs).toEqual([]);
  });

  it('remembers what it found per network, over a restart too', () => {
    const line = new NatLine(150_001);
    line.timers.advance(3_600_000);
    const later = new AdaptiveInterval(line.storage, DEFAULT_INTERVAL_LIMITS);
    later.useNetwork('cellular');
    expect([later.intervalS, later.isHeld]).toEqual([60, false]);
    later.useNetwork('wifi');
    expect([later.intervalS, later.isHeld]).toEqual([150, true]);
    expect(later.useNetwork('wifi')).toBe(false);
  });

  it('lets a value that holds survive one failure, and not two in a row', () => {
    const interval = new AdaptiveInterval(memoryStorage(), DEFAULT_INTERVAL_LIMITS);
    interval.useNetwork('wifi');
    interval.succeeded(true);
    interval.succeeded(true);
    interval.failed();
    expect(interval.intervalS).toBe(90);
    interval.succeeded(true);
    interval.failed();
    interval.succeeded(true);
    expect(interval.intervalS).toBe(90);
    interval.failed();
    interval.failed();
    expect(interval.intervalS).toBe(60);
    interval.failed();
    expect(interval.intervalS).toBe(60);
  });

  it('takes nothing from storage that is no interval', () => {
    const storage = memoryStorage();
    for (const text of ['x', '99999999:0', '-5:1', '90', '90:2']) {
      storage.set('halley.heartbeat.wifi', text);
      const interval = new AdaptiveInterval(storage, DEFAULT_INTERVAL_LIMITS);
      interval.useNetwork('wifi');
      expect([interval.intervalS, interval.isHeld]).toEqual([60, false]);
    }
    storage.set('halley.heartbeat.wifi', '999:0');
    const interval = new AdaptiveInterval(storage, DEFAULT_INTERVAL_LIMITS);
    interval.useNetwork('wifi');
    expect(interval.intervalS).toBe(300);
  });
});
