/**
 * Buffers for merged batches, lent out by size class and given back, with a bound and a way to shrink.
 *
 * Threads: one thread owns a pool; its buffers are not shared memory.
 * Layout: classes are powers of two from `minBufferBytes`; each keeps a stack of idle buffers, the warmest on top.
 * Guarantees: idle buffers never hold more than `maxRetainedBytes`; what is released beyond that goes to the garbage
 *   collector. trim(), called now and then, drops what stood idle since the trim() before: after a burst the memory
 *   returns (goim's pools only grow, `facts/goim.md` W16).
 * Hot path: acquire() and release() once per batch: nothing is allocated while the pool has a fitting buffer.
 */
import { HalleyError } from '../errors/index.js';

const DEFAULT_MIN_BUFFER_BYTES = 512;
const MAX_BUFFER_BYTES = 2 ** 30;

export interface BufferPoolOptions {
  /** Bound of the memory in idle buffers; 0 keeps nothing. Lent buffers do not count. */
  readonly maxRetainedBytes: number;
  /** Smallest buffer that is made: a power of two up to 2^30, 512 by default. */
  readonly minBufferBytes?: number;
}

export interface BufferPoolStats {
  /** Acquired and not released. Returns to zero when all is quiet, or something leaks. */
  readonly lentCount: number;
  readonly lentBytes: number;
  readonly idleCount: number;
  readonly idleBytes: number;
  /** Since the pool was made: buffers newly allocated, taken from the pool, dropped at release or by trim(). */
  readonly allocatedCount: number;
  readonly reusedCount: number;
  readonly droppedCount: number;
}

export class BufferPool {
  readonly #maxRetainedBytes: number;
  readonly #minClass: number;
  /** Index: log2 of the size. */
  readonly #idleByClass: Uint8Array[][];
  /** Fewest idle buffers of each class since the last trim(): that many nobody needed. */
  readonly #leastIdleByClass: Uint32Array;
  readonly #lent: WeakSet<Uint8Array>;
  #lentCount: number;
  #lentBytes: number;
  #idleCount: number;
  #idleBytes: number;
  #allocatedCount: number;
  #reusedCount: number;
  #droppedCount: number;

  /** @throws HalleyError POOL_OPTIONS */
  constructor(options: BufferPoolOptions) {
    const { maxRetainedBytes, minBufferBytes = DEFAULT_MIN_BUFFER_BYTES } = options;
    if (!Number.isSafeInteger(maxRetainedBytes) || maxRetainedBytes < 0) {
      throw new HalleyError('POOL_OPTIONS', 'the bound of retained bytes is a number from 0 on', { maxRetainedBytes });
    }
    const minClass = Math.log2(minBufferBytes);
    if (!Number.isInteger(minClass) || minClass < 0 || minBufferBytes > MAX_BUFFER_BYTES) {
      throw new HalleyError('POOL_OPTIONS', `the smallest buffer is a power of two up to ${MAX_BUFFER_BYTES} bytes`, {
        minBufferBytes,
      });
    }
    this.#maxRetainedBytes = maxRetainedBytes;
    this.#minClass = minClass;
    this.#idleByClass = Array.from({ length: Math.log2(MAX_BUFFER_BYTES) + 1 }, () => []);
    this.#leastIdleByClass = new Uint32Array(this.#idleByClass.length);
    this.#lent = new WeakSet();
    this.#lentCount = 0;
    this.#lentBytes = 0;
    this.#idleCount = 0;
    this.#idleBytes = 0;
    this.#allocatedCount = 0;
    this.#reusedCount = 0;
    this.#droppedCount = 0;
  }

  /**
   * A buffer of at least `minBytes` (its length is the class's power of two), the caller's until release(). Its content is
   * whatever the owner before left there.
   * @throws HalleyError POOL_SIZE above 2^30 bytes or below 0
   */
  acquire(minBytes: number): Uint8Array {
    if (!(minBytes >= 0 && minBytes <= MAX_BUFFER_BYTES)) {
      throw new HalleyError('POOL_SIZE', `a pooled buffer has 0 to ${MAX_BUFFER_BYTES} bytes`, { minBytes });
    }
    const ownClass = minBytes <= 1 ? 0 : 32 - Math.clz32(minBytes - 1);
    const sizeClass = Math.max(ownClass, this.#minClass);
    const idle = this.#idleByClass[sizeClass]!;
    let buffer = idle.pop();
    if (buffer === undefined) {
      buffer = new Uint8Array(2 ** sizeClass);
      this.#allocatedCount++;
    } else {
      this.#reusedCount++;
      this.#idleCount--;
      this.#idleBytes -= buffer.length;
      if (idle.length < this.#leastIdleByClass[sizeClass]!) this.#leastIdleByClass[sizeClass] = idle.length;
    }
    this.#lent.add(buffer);
    this.#lentCount++;
    this.#lentBytes += buffer.length;
    return buffer;
  }

  /**
   * Give a buffer back; the caller must not touch it again.
   * @throws HalleyError POOL_RELEASE for one that is not lent by this pool: released twice (it could have two owners), a
   *   subarray, or a stranger
   */
  release(buffer: Uint8Array): void {
    if (!this.#lent.delete(buffer)) {
      throw new HalleyError('POOL_RELEASE', 'release() takes what acquire() of this pool gave, once', {
        byteLength: buffer.byteLength,
      });
    }
    this.#lentCount--;
    this.#lentBytes -= buffer.length;
    if (this.#idleBytes + buffer.length > this.#maxRetainedBytes) {
      this.#droppedCount++;
      return;
    }
    this.#idleByClass[31 - Math.clz32(buffer.length)]!.push(buffer);
    this.#idleCount++;
    this.#idleBytes += buffer.length;
  }

  /**
   * Drop the buffers that stood idle since the last trim(): of each class as many as it never went below. A pool that was
   * not used between two calls is empty after the second.
   */
  trim(): void {
    for (let sizeClass = this.#minClass; sizeClass < this.#idleByClass.length; sizeClass++) {
      const idle = this.#idleByClass[sizeClass]!;
      const surplusCount = this.#leastIdleByClass[sizeClass]!;
      if (surplusCount > 0) {
        // From the bottom: the coldest.
        idle.splice(0, surplusCount);
        this.#idleCount -= surplusCount;
        this.#idleBytes -= surplusCount * 2 ** sizeClass;
        this.#droppedCount += surplusCount;
      }
      this.#leastIdleByClass[sizeClass] = idle.length;
    }
  }

  /** A copy of the counters. */
  stats(): BufferPoolStats {
    return {
      lentCount: this.#lentCount,
      lentBytes: this.#lentBytes,
      idleCount: this.#idleCount,
      idleBytes: this.#idleBytes,
      allocatedCount: this.#allocatedCount,
      reusedCount: this.#reusedCount,
      droppedCount: this.#droppedCount,
    };
  }
}
