/**
 * Does what is published still arrive? A subscription may look alive and be dead: half-open TCP, a proxy that swallows, an
 * UNSUBSCRIBE behind our back. So the node sends itself a small message over each kind of subscription it has, and over one
 * of its rooms in turn, and expects it back.
 *
 * Threads: control thread only.
 * Guarantees: a probe that Redis took and that has not come back when its time is over is a miss; two misses of the same
 *   subscription in a row are reported once. A probe that could not be published says nothing.
 */
import type { Clock } from '../../clock/index.js';

/** `node`: the node's channel. `ordinary`: on Cluster, where that channel is sharded, the connection of the others. */
export type ProbeTarget = 'node' | 'ordinary' | 'room';

export interface BusProbeLinks {
  readonly targets: readonly ProbeTarget[];
  /** False while the subscriptions are being restored: nothing is expected then. */
  readonly isReady: () => boolean;
  /** The next room of the rotation; undefined: none is linked. */
  readonly nextRoom: () => string | undefined;
  /** Is it still linked? */
  readonly hasRoom: (room: string) => boolean;
  readonly publish: (target: ProbeTarget, room: string, serial: number) => Promise<number>;
  readonly onDead: (reason: string) => void;
}

interface Probe {
  readonly target: ProbeTarget;
  readonly room: string;
  readonly serial: number;
  /** Monotonic ms at which Redis took it; 0: it has not (yet). */
  takenAtMs: number;
  hasFailed: boolean;
  hasReturned: boolean;
}

const MISSES_UNTIL_DEAD = 2;

export class BusProbe {
  readonly #intervalMs: number;
  readonly #links: BusProbeLinks;
  readonly #clock: Clock;
  readonly #underWay = new Map<ProbeTarget, Probe>();
  readonly #echoes = new Map<number, () => void>();
  readonly #missCount = new Map<ProbeTarget, number>();
  #serial = 0;
  #missedCount = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(intervalMs: number, links: BusProbeLinks, clock: Clock) {
    this.#intervalMs = intervalMs;
    this.#links = links;
    this.#clock = clock;
  }

  /** All misses so far. */
  get missedCount(): number {
    return this.#missedCount;
  }

  start(): void {
    // Judged in setImmediate, behind the sockets: after a long turn the answer may lie in a buffer that nobody has read.
    this.#timer = setInterval(() => setImmediate(() => this.#round()), this.#intervalMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Send one over the node's channel and wait for it, at most `timeoutMs`. Never rejects. */
  echo(timeoutMs: number): Promise<void> {
    this.#serial += 1;
    const serial = this.#serial;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#echoes.delete(serial);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.#echoes.set(serial, end);
      // Not published: nothing comes back.
      this.#links.publish('node', '', serial).catch(end);
    });
  }

  /** One of the own probes came back. */
  returned(serial: number): void {
    this.#echoes.get(serial)?.();
    for (const probe of this.#underWay.values()) if (probe.serial === serial) probe.hasReturned = true;
  }

  #round(): void {
    if (this.#timer === undefined) return;
    if (!this.#links.isReady()) {
      this.#underWay.clear();
      this.#missCount.clear();
      return;
    }
    for (const target of this.#links.targets) {
      const probe = this.#underWay.get(target);
      if (probe !== undefined && !this.#judge(probe)) continue;
      if ((this.#missCount.get(target) ?? 0) >= MISSES_UNTIL_DEAD) {
        this.#underWay.clear();
        this.#missCount.clear();
        this.#links.onDead(probe?.room === '' ? `probe of ${target}` : `probe of a room`);
        return;
      }
      this.#send(target, probe);
    }
  }

  /** False: it is too early to say. */
  #judge(probe: Probe): boolean {
    const { target, room } = probe;
    const isVoid = probe.hasFailed || (target === 'room' && !this.#links.hasRoom(room));
    if (!isVoid && !probe.hasReturned) {
      if (probe.takenAtMs === 0 || this.#clock.monotonicMs() - probe.takenAtMs < this.#intervalMs / 2) return false;
      this.#missedCount += 1;
      this.#missCount.set(target, (this.#missCount.get(target) ?? 0) + 1);
      return true;
    }
    this.#missCount.delete(target);
    return true;
  }

  #send(target: ProbeTarget, last: Probe | undefined): void {
    // A room that missed one is asked again before it is the next one's turn.
    const isRepeat = last !== undefined && this.#missCount.has(target);
    const room = target !== 'room' ? '' : isRepeat ? last.room : this.#links.nextRoom();
    if (room === undefined) {
      this.#underWay.delete(target);
      return;
    }
    this.#serial += 1;
    const probe: Probe = { target, room, serial: this.#serial, takenAtMs: 0, hasFailed: false, hasReturned: false };
    this.#underWay.set(target, probe);
    this.#links.publish(target, room, probe.serial).then(
      () => {
        probe.takenAtMs = this.#clock.monotonicMs();
      },
      () => {
        // Redis is away, which its link knows and tells; the subscription is not to blame.
        probe.hasFailed = true;
      },
    );
  }
}
