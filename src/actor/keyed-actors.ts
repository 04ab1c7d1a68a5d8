/**
 * Actors by (type, key): placed by every thread in the same way, started by their first message, stopped when idle.
 *
 * Threads: one instance per thread, inside its ActorSystem.
 * Guarantees: at most one thread holds an instance of a key. When the placement changes, every thread first ends what is
 *   no longer its own (onStop may persist) and says so in shared memory (`settle`); a new owner holds its first messages
 *   until all others have. What arrives at the wrong thread is handed on. The exception is a thread that stalled or died:
 *   nobody waits for it. Messages to a thread that dies are lost, as all others are.
 */
import { HalleyError, OUTCOME, type Outcome } from '../errors/index.js';
import type { Actor, KeyedTypeOptions } from './actor.js';
import type { ActorCell } from './actor-cell.js';
import type { ActorLoader } from './actor-loader.js';
import type { ActorRef, Addressable, AskOptions } from './actor-ref.js';
import type { ActorSystem } from './actor-system.js';
import type { Courier } from './courier.js';
import { DEADLINE_TICK_MS } from './deadlines.js';
import { MAX_HOPS, MAX_KEY_BYTES } from './envelope.layout.js';
import type { Letter } from './letter.js';
import { hashText, placeKey } from './placement.js';
import type { ThreadStates } from './thread-state.layout.js';

const DEFAULT_PASSIVATE_AFTER_MS = 60_000;
const NO_OWNER = -1;

/** Where a keyed message goes. */
export interface KeyedAddress {
  readonly typeHash: number;
  readonly key: string;
  readonly keyHash: number;
}

/** A registered type and its actors on this thread. */
interface KeyedType {
  readonly options: KeyedTypeOptions;
  readonly hash: number;
  readonly cells: Map<string, ActorCell>;
}

/** The address of one key. It holds no thread: that is decided by each message anew. */
class KeyedRef implements Addressable, KeyedAddress {
  readonly type: string;
  readonly key: string;
  readonly typeHash: number;
  readonly keyHash: number;
  readonly #actors: KeyedActors;

  constructor(actors: KeyedActors, type: KeyedType, key: string) {
    this.#actors = actors;
    this.type = type.options.type;
    this.key = key;
    this.typeHash = type.hash;
    this.keyHash = hashText(key, type.hash);
  }

  tell(message: unknown, sender?: ActorRef): Outcome {
    const letter =
      sender === undefined
        ? undefined
        : { senderThread: sender.thread, senderIncarnation: sender.incarnation, senderId: sender.id, askId: 0 };
    return this.#actors.send(this, message, letter, 0);
  }

  ask(message: unknown, options: AskOptions): Promise<unknown> {
    return this.#actors.ask(this, message, options.timeoutMs);
  }

  toString(): string {
    return `${this.type}/${this.key}`;
  }
}

export class KeyedActors {
  readonly #system: ActorSystem;
  readonly #courier: Courier;
  readonly #states: ThreadStates;
  readonly #loader: ActorLoader;
  readonly #types: Map<number, KeyedType>;
  readonly #held: Set<ActorCell>;
  readonly #leaving: Set<ActorCell>;
  #generation: number;
  #polling: boolean;

  constructor(system: ActorSystem, courier: Courier, states: ThreadStates, loader: ActorLoader) {
    this.#system = system;
    this.#courier = courier;
    this.#states = states;
    this.#loader = loader;
    this.#types = new Map();
    this.#held = new Set();
    this.#generation = 0;
    this.#leaving = new Set();
    this.#polling = false;
  }

  register(options: KeyedTypeOptions): void {
    const hash = hashText(options.type);
    const known = this.#types.get(hash);
    if (known !== undefined) {
      throw new HalleyError('KEYED_TYPE', 'a type of keyed actors is registered once per thread', {
        type: options.type,
        collides_with: known.options.type,
      });
    }
    this.#types.set(hash, { options, hash, cells: new Map() });
  }

  ref(typeName: string, key: string): Addressable {
    const type = this.#types.get(hashText(typeName));
    if (type === undefined || type.options.type !== typeName) {
      throw new HalleyError('KEYED_TYPE', 'no keyed actors of this type are registered on this thread', {
        type: typeName,
      });
    }
    if (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES) {
      throw new HalleyError('KEY_RANGE', `a key has 1 to ${MAX_KEY_BYTES} bytes of UTF-8`, { type: typeName });
    }
    return new KeyedRef(this, type, key);
  }

  send(address: KeyedAddress, message: unknown, letter: Letter | undefined, hops: number): Outcome {
    const owner = this.#ownerOf(address);
    if (owner === this.#system.threadIndex) return this.#offer(address, message, letter);
    if (owner === NO_OWNER || !this.#states.isReachable(owner)) {
      this.#refuse('thread-down', address, message, letter, 'its thread is down');
      return OUTCOME.CLOSED;
    }
    if (hops > MAX_HOPS) {
      this.#refuse('too-many-hops', address, message, letter, 'the threads do not agree on its place');
      return OUTCOME.CLOSED;
    }
    const outcome = this.#courier.sendKeyed(owner, address, message, letter, hops);
    if (outcome === OUTCOME.FULL) this.#refuse('full', address, message, letter, 'the ring is full');
    else if (outcome === OUTCOME.TOO_LARGE) this.#refuse('too-large', address, message, letter, 'too large');
    return outcome;
  }

  ask(address: KeyedAddress, message: unknown, timeoutMs: number): Promise<unknown> {
    return this.#courier.askKeyed(this.#ownerOf(address), timeoutMs, (letter) => {
      this.send(address, message, letter, 0);
    });
  }

  /** A record from another thread. Its memory is held: nothing of the application runs here, cells only take it. */
  received(typeHash: number, key: string, message: unknown, letter: Letter | undefined, hops: number): void {
    const address = { typeHash, key, keyHash: hashText(key, typeHash) };
    const cell = this.#types.get(typeHash)?.cells.get(key);
    // A cell that is leaving takes it too and hands it on in order.
    if (cell !== undefined) cell.offer(message, letter);
    else this.send(address, message, letter, hops + 1);
  }

  /** What a cell that left had still in its mailbox. */
  forward(cell: ActorCell, message: unknown, letter: Letter | undefined): void {
    const typeHash = hashText(cell.typeName);
    const key = cell.key!;
    this.send({ typeHash, key, keyHash: hashText(key, typeHash) }, message, letter, 1);
  }

  removed(cell: ActorCell): void {
    const cells = this.#types.get(hashText(cell.typeName))?.cells;
    if (cells?.get(cell.key!) === cell) cells.delete(cell.key!);
    this.#held.delete(cell);
    if (this.#leaving.delete(cell)) this.#settle();
  }

  /** End what the placement gives to others, once per change of it. The runtime calls it every turn and heartbeat. */
  rebalance(): void {
    const generation = this.#states.placementGeneration();
    if (generation !== this.#generation && (generation & 1) === 0) {
      this.#generation = generation;
      for (const type of this.#types.values()) {
        for (const [key, cell] of [...type.cells]) {
          const owner = placeKey(hashText(key, type.hash), this.#states.placementMask());
          if (owner === this.#system.threadIndex || this.#leaving.has(cell)) continue;
          this.#leaving.add(cell);
          cell.move();
        }
      }
      this.#settle();
    }
    if (this.#held.size > 0) this.#releaseHeld();
  }

  /** Deadline of #poll(). */
  onDeadline(): void {
    this.#polling = false;
    this.rebalance();
    if (this.#held.size > 0) this.#poll();
  }

  #ownerOf(address: KeyedAddress): number {
    return placeKey(address.keyHash, this.#states.placementMask());
  }

  #offer(address: KeyedAddress, message: unknown, letter: Letter | undefined): Outcome {
    const type = this.#types.get(address.typeHash);
    if (type === undefined) {
      this.#refuse('unknown-type', address, message, letter, 'its type is not registered there');
      return OUTCOME.CLOSED;
    }
    const cell = type.cells.get(address.key) ?? this.#createCell(type, address.key);
    return cell.offer(message, letter);
  }

  #createCell(type: KeyedType, key: string): ActorCell {
    const { options } = type;
    const held = !this.#states.othersSettled(this.#system.threadIndex);
    const cell = this.#system.addCell({
      typeName: options.type,
      key,
      parent: undefined,
      create: () => this.#instantiate(options, key),
      actor: options,
      passivateAfterMs: options.passivateAfterMs ?? DEFAULT_PASSIVATE_AFTER_MS,
      held: true,
    });
    type.cells.set(key, cell);
    if (held) {
      this.#held.add(cell);
      this.#poll();
    } else {
      // Not now: the record that brought the message may still be held, and a constructor is application code.
      setImmediate(() => cell.release());
    }
    return cell;
  }

  #instantiate(options: KeyedTypeOptions, key: string): Actor<unknown> | Promise<Actor<unknown>> {
    const loaded = this.#loader.loaded(options);
    if (loaded !== undefined) return new loaded(key);
    return this.#loader.load(options).then((found) => new found(key));
  }

  #settle(): void {
    if (this.#leaving.size === 0) this.#states.settle(this.#system.threadIndex, this.#generation);
  }

  #releaseHeld(): void {
    if (!this.#states.othersSettled(this.#system.threadIndex)) return;
    const cells = [...this.#held];
    this.#held.clear();
    for (const cell of cells) cell.release();
  }

  #poll(): void {
    if (this.#polling) return;
    this.#polling = true;
    this.#system.after(DEADLINE_TICK_MS, this, 0);
  }

  #refuse(
    reason: 'thread-down' | 'too-many-hops' | 'full' | 'too-large' | 'unknown-type',
    address: KeyedAddress,
    message: unknown,
    letter: Letter | undefined,
    text: string,
  ): void {
    const typeName = this.#types.get(address.typeHash)?.options.type ?? `#${address.typeHash}`;
    this.#courier.deadLetters.post(reason, () => `${typeName}/${address.key}`, message);
    if (letter !== undefined && letter.askId !== 0) this.#courier.replyFailure(letter, text);
  }
}
