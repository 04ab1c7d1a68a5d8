/**
 * redis-link-pulse: does Redis still answer? Asks at intervals. A connection that stays open and silent for too long is cut, so
 * that the client looks for the server anew (a Sentinel may know another master by then).
 *
 * Threads: control thread only. One question is under way at a time.
 */
import { Cluster, type Redis } from 'ioredis';

export interface RedisLinkPulseOptions {
  /** Between two questions; also how long one may stay without an answer (the client's command timeout is no shorter). */
  readonly intervalMs: number;
  /** Silence after which the connection is cut. */
  readonly giveUpMs: number;
  readonly onBeat: (answered: boolean) => void;
}

export class RedisLinkPulse {
  readonly #client: Redis | Cluster;
  readonly #options: RedisLinkPulseOptions;
  #timer: NodeJS.Timeout | undefined;
  #isAsking = false;
  #silentSinceMs: number | undefined;
  #isStopped = true;

  constructor(client: Redis | Cluster, options: RedisLinkPulseOptions) {
    this.#client = client;
    this.#options = options;
  }

  start(): void {
    this.#isStopped = false;
    this.#arm(this.#options.intervalMs);
  }

  /** Something got no answer: ask now. */
  beatSoon(): void {
    if (!this.#isStopped && !this.#isAsking) this.#arm(0);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#beat(), delayMs);
  }

  async #beat(): Promise<void> {
    this.#isAsking = true;
    const answered = await this.#answered();
    this.#isAsking = false;
    if (this.#isStopped) return;
    // While the client is connecting, its own events tell.
    if (answered || this.#client.status === 'ready') this.#options.onBeat(answered);
    this.#giveUpWhenSilent(answered);
    this.#arm(this.#options.intervalMs);
  }

  #giveUpWhenSilent(answered: boolean): void {
    if (answered || this.#client.status !== 'ready') {
      this.#silentSinceMs = undefined;
      return;
    }
    const nowMs = performance.now();
    this.#silentSinceMs ??= nowMs;
    // A new owner of the slots is found by asking the other masters; their connections are sound.
    if (this.#client instanceof Cluster) this.#client.refreshSlotsCache();
    else if (nowMs - this.#silentSinceMs >= this.#options.giveUpMs) {
      this.#silentSinceMs = undefined;
      this.#client.disconnect(true);
    }
  }

  async #answered(): Promise<boolean> {
    if (this.#client.status !== 'ready') return false;
    try {
      if (!(this.#client instanceof Cluster)) return (await this.#client.ping()) === 'PONG';
      const masters = this.#client.nodes('master');
      const states = (await Promise.all(masters.map((master) => master.cluster('INFO')))).map(String);
      // The client drops a master that broke off from its list, long before the others call the cluster unsound.
      const ownerCount = Math.max(0, ...states.map((state) => Number(/cluster_size:(\d+)/.exec(state)?.[1] ?? 0)));
      return masters.length >= Math.max(1, ownerCount) && states.every((state) => state.includes('cluster_state:ok'));
    } catch {
      // Whatever it was, there was no answer; the next beat asks again.
      return false;
    }
  }
}
