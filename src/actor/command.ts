/**
 * What the systems of two threads say to each other: messages to actor 0, which every thread has.
 */
import type { SpawnOptions } from './actor.js';
import type { ActorRef } from './actor-ref.js';

/** Actor ids begin above it. */
export const GUARDIAN_ID = 0;

export type Command =
  /** Answered with the ref. */
  | { readonly halley: 'spawn'; readonly options: SpawnOptions; readonly parent?: ActorRef }
  /** Answered when the actor has stopped. */
  | { readonly halley: 'stop'; readonly id: number }
  /** A child on another thread failed and its policy is to escalate. */
  | { readonly halley: 'escalate'; readonly id: number; readonly reason: string }
  /** A child on another thread has ended by itself. */
  | { readonly halley: 'ended'; readonly id: number; readonly child: ActorRef }
  /** From the supervisor: a thread is gone. */
  | { readonly halley: 'lost'; readonly thread: number };

/** True for a message of this form; only the runtime can address actor 0. */
export function isCommand(message: unknown): message is Command {
  return typeof message === 'object' && message !== null && 'halley' in message;
}
