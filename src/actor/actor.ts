/**
 * What an application writes: a class that receives one message at a time.
 */
import type { ActorRef, Addressable } from './actor-ref.js';
import type { MailboxOptions } from './mailbox.js';
import type { Supervision } from './supervision.js';

/** How an actor class is found on any thread. */
export interface ActorSource {
  /** URL of the module, as `import()` takes it: usually `import.meta.url` or a `file:` URL. */
  readonly module: string;
  /** Name under which the module exports the class. */
  readonly export: string;
}

export interface ActorOptions {
  /** Label of its counters. Default: the export's or class's name. */
  readonly type?: string;
  readonly mailbox?: MailboxOptions;
  readonly supervision?: Supervision;
}

export interface SpawnOptions extends ActorSource, ActorOptions {
  /** Given to the constructor. To another thread it goes as a message does. */
  readonly args?: unknown;
  /** Where it lives; default: the thread that spawns. */
  readonly thread?: number;
}

export interface KeyedTypeOptions extends ActorSource, ActorOptions {
  /** Unique on the node. Every thread registers the same types. The constructor is given the key. */
  readonly type: string;
  /** Idle this long, the actor is stopped; its next message starts a new instance. 0: never. Default 60,000. */
  readonly passivateAfterMs?: number;
}

/** What an actor may ask of its system. */
export interface ActorSystemPort {
  readonly threadIndex: number;
  spawn(options: SpawnOptions): Promise<ActorRef>;
  spawnLocal(create: () => Actor<never>, options?: ActorOptions): ActorRef;
  keyed(type: string, key: string): Addressable;
  stop(ref: ActorRef): Promise<void>;
}

/** The surroundings of one actor, the same object for all its messages. */
export interface ActorContext {
  readonly self: ActorRef;
  readonly system: ActorSystemPort;
  /** Of a keyed actor. */
  readonly key: string | undefined;
  /** Of the message at hand; undefined when it was told without one. Valid until receive() has returned or settled. */
  readonly sender: ActorRef | undefined;
  /** Spawn a child: it stops with this actor, and its escalations come here. */
  spawn(options: SpawnOptions): Promise<ActorRef>;
  spawnLocal(create: () => Actor<never>, options?: ActorOptions): ActorRef;
  /** Stop after the message at hand. */
  stop(): void;
}

export abstract class Actor<M = unknown> {
  /**
   * One message; the next comes when this has returned, or the promise has settled. What it returns answers an ask. A
   * throw or rejection costs this actor only (see Supervision).
   */
  abstract receive(message: M, context: ActorContext): unknown;

  /** Before the first message of an instance; messages wait for it. */
  onStart(_context: ActorContext): void | Promise<void> {}

  /** After the last message of an instance that ends in order: stop, passivation, or a move to another thread. */
  onStop(_context: ActorContext): void | Promise<void> {}
}

/** Counters of all actors of one type on one thread. `live` and `mailboxDepth` go back to zero. */
export interface ActorTypeStats {
  live: number;
  received: number;
  failed: number;
  restarted: number;
  mailboxDepth: number;
}

/** One failure, for the log. */
export interface ActorFailure {
  readonly type: string;
  readonly actor: string;
  readonly error: unknown;
  /** What the policy decided. */
  readonly consequence: 'restarted' | 'stopped' | 'escalated' | 'ignored';
}
