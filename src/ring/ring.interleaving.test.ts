/**
 * What threads meet once in a million rounds, on purpose: an operation of one side is interrupted before its first, second,
 * third ... access to shared memory, and there the other side does its worst. Shipped classes, every position, one thread.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { OUTCOME } from '../errors/index.js';
import { Doorbell } from './doorbell.js';
import { allocateDoorbells } from './doorbell.layout.js';
import { fillPattern, hasPattern } from './fixtures/pattern.js';
import { allocateRing, READER_STATE } from './ring.layout.js';
import { DRAIN_DETACHED, RingReader } from './ring-reader.js';
import { RingWriter } from './ring-writer.js';

const CAPACITY_BYTES = 64 * 1024;
const EVERYONE = -1;

afterEach(() => {
  vi.restoreAllMocks();
});

/**
 * Run `operation` with `interloper` just before its Atomics call number `at` (from 0).
 * @returns false when the operation has fewer calls: all its positions are done
 */
function interrupt(at: number, operation: () => void, interloper: () => void): boolean {
  let callCount = 0;
  let inside = false;
  let interrupted = false;
  const step = (): void => {
    if (inside || callCount++ !== at) return;
    inside = true;
    interrupted = true;
    interloper();
    inside = false;
  };
  const { load, store, compareExchange } = Atomics;
  const spies = [
    vi.spyOn(Atomics, 'load').mockImplementation((...args: Parameters<typeof load>) => {
      step();
      return Reflect.apply(load, Atomics, args);
    }),
    vi.spyOn(Atomics, 'store').mockImplementation((...args: Parameters<typeof store>) => {
      step();
      return Reflect.apply(store, Atomics, args);
    }),
    vi.spyOn(Atomics, 'compareExchange').mockImplementation((...args: Parameters<typeof compareExchange>) => {
      step();
      return Reflect.apply(compareExchange, Atomics, args);
    }),
  ];
  try {
    operation();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return interrupted;
}

/** A ring with one reader whose every record is checked: whole, and next in order unless a gap is due. */
class Scene {
  readonly writer: RingWriter;
  readonly reader: RingReader;
  readonly memory: SharedArrayBuffer;
  committed = 0;
  next = 0;
  /** What comes next may lie further ahead: the reader has just attached, or was told of a detachment. */
  gapDue = true;

  constructor(startPosition: number) {
    const geometry = { capacityBytes: CAPACITY_BYTES, maxRecordBytes: CAPACITY_BYTES / 4, readerCount: 1 };
    this.memory = allocateRing(geometry, startPosition);
    this.writer = new RingWriter(this.memory);
    this.reader = new RingReader(this.memory, 0);
  }

  /** @returns false when FULL */
  commitOne(): boolean {
    const bodyBytes = 900 + (this.committed % 300);
    if (this.writer.claim(bodyBytes) !== OUTCOME.OK) return false;
    fillPattern(this.writer.bytes, this.writer.offset, bodyBytes, this.committed);
    this.writer.commit(this.committed++, EVERYONE, bodyBytes);
    return true;
  }

  /** Three times round the ring, or until FULL. */
  flood(): void {
    for (let count = 0; count < (3 * CAPACITY_BYTES) / 1000 && this.commitOne(); count++);
  }

  drain(): number {
    const given = this.reader.drain(
      {
        onRecord: (kind, bytes, offset, lengthBytes) => {
          expect(hasPattern(bytes, offset, lengthBytes, kind)).toBe(true);
          if (this.gapDue) expect(kind).toBeGreaterThanOrEqual(this.next);
          else expect(kind).toBe(this.next);
          this.gapDue = false;
          this.next = kind + 1;
        },
      },
      1000,
    );
    if (given === DRAIN_DETACHED) this.gapDue = true;
    return given;
  }

  /** After all: the reader still hears everything, or is told that it does not. */
  settle(): void {
    for (let round = 0; round < 3; round++) {
      this.flood();
      while (this.reader.hasRecords()) this.drain();
    }
    expect(this.gapDue).toBe(false);
    expect(this.next).toBe(this.committed);
    expect(this.writer.readerState(0)).toBe(READER_STATE.ATTACHED);
    expect(this.writer.lagBytes(0)).toBe(0);
  }
}

/** Every interruption of `operation` by `interloper`, from positions before and after the 32-bit wrap. */
function everywhere(
  prepare: (scene: Scene) => void,
  operation: (scene: Scene) => void,
  interloper: (scene: Scene) => void,
) {
  let positions = 0;
  for (const startPosition of [0, -9000]) {
    for (let at = 0; at < 1000; at++) {
      const scene = new Scene(startPosition);
      prepare(scene);
      const interrupted = interrupt(
        at,
        () => operation(scene),
        () => interloper(scene),
      );
      if (!interrupted) break;
      scene.settle();
      positions++;
    }
  }
  return positions;
}

const attach = (scene: Scene): void => scene.reader.attach();
const flood = (scene: Scene): void => scene.flood();
const detachAndFlood = (scene: Scene): void => {
  scene.writer.detachStalled(0);
  scene.flood();
};

describe('a reader interrupted by the writer at every access', () => {
  it.each([
    ['floods', flood],
    ['detaches it and floods', detachAndFlood],
  ])('joins at a head that the writer cannot overwrite unseen, when it %s', (_, interloper) => {
    expect(everywhere((scene) => scene.flood(), attach, interloper)).toBeGreaterThanOrEqual(8);
  });

  it.each([
    ['floods', flood],
    ['detaches it and floods', detachAndFlood],
  ])('drains whole records in order, or is told, when it %s', (_, interloper) => {
    const prepare = (scene: Scene): void => {
      scene.reader.attach();
      for (let count = 0; count < 20; count++) scene.commitOne();
    };
    expect(everywhere(prepare, (scene) => scene.drain(), interloper)).toBeGreaterThanOrEqual(8);
  });

  it.each([
    ['floods', flood],
    ['detaches it again and floods', detachAndFlood],
  ])('rejoins after a detachment, when it %s', (_, interloper) => {
    const prepare = (scene: Scene): void => {
      scene.reader.attach();
      scene.gapDue = false;
      scene.next = scene.committed;
      scene.flood();
      scene.writer.detachStalled(0);
      scene.flood();
    };
    expect(everywhere(prepare, (scene) => scene.drain(), interloper)).toBeGreaterThanOrEqual(8);
  });
});

describe('a writer interrupted by its reader at every access', () => {
  const leaveAndAttach = (scene: Scene): void => {
    scene.reader.leave();
    scene.gapDue = true;
    scene.reader.attach();
  };

  it.each([
    ['drains', (scene: Scene) => void scene.drain()],
    ['leaves and comes back', leaveAndAttach],
  ])('claims and commits without overwriting what is unread, when it %s', (_, interloper) => {
    const prepare = (scene: Scene): void => {
      scene.reader.attach();
      scene.flood();
    };
    const operation = (scene: Scene): void => {
      for (let count = 0; count < 10; count++) scene.commitOne();
      scene.writer.takeUnsignalled();
    };
    expect(everywhere(prepare, operation, interloper)).toBeGreaterThan(20);
  });

  it('is joined in the middle of a flood by a reader that was not there', () => {
    expect(everywhere(() => {}, flood, attach)).toBeGreaterThan(100);
  });
});

describe('a sleeper rung at every access while it falls asleep', () => {
  it('runs for the work that came in between', async () => {
    for (let at = 0; at < 100; at++) {
      const memory = allocateDoorbells(2);
      const [ringer, sleeper] = [new Doorbell(memory, 0), new Doorbell(memory, 1)];
      const published = new Int32Array(new SharedArrayBuffer(4));
      let doneCount = 0;
      const interrupted = interrupt(
        at,
        () =>
          sleeper.listen(
            () => Atomics.load(published, 0) > doneCount,
            () => {
              doneCount = Atomics.load(published, 0);
            },
          ),
        () => {
          Atomics.store(published, 0, 1);
          ringer.ring(0b10);
        },
      );
      const deadlineAtMs = performance.now() + 5_000;
      while (doneCount < published[0]! && performance.now() < deadlineAtMs) await new Promise(setImmediate);
      sleeper.close();
      expect(doneCount, `interrupted before access ${at}`).toBe(published[0]);
      if (!interrupted) {
        expect(at).toBeGreaterThanOrEqual(2);
        return;
      }
    }
  });
});
