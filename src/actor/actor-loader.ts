/**
 * From a module's URL and an export's name to an actor class, once per thread.
 */
import { HalleyError } from '../errors/index.js';
import type { Actor, ActorSource } from './actor.js';

export type ActorClass = new (argument: unknown) => Actor<unknown>;

export class ActorLoader {
  readonly #classes = new Map<string, ActorClass>();
  readonly #loading = new Map<string, Promise<ActorClass>>();

  /** The class if it has been loaded before, without a turn of the event loop. */
  loaded(source: ActorSource): ActorClass | undefined {
    return this.#classes.get(`${source.module}#${source.export}`);
  }

  /** Import the module and take the class out of it. @throws HalleyError ACTOR_MODULE (as a rejection) */
  load(source: ActorSource): Promise<ActorClass> {
    const label = `${source.module}#${source.export}`;
    const known = this.#loading.get(label);
    if (known !== undefined) return known;
    const loading = this.#import(source, label);
    this.#loading.set(label, loading);
    // A module that failed may be repaired: the next spawn tries again.
    loading.catch(() => this.#loading.delete(label));
    return loading;
  }

  async #import(source: ActorSource, label: string): Promise<ActorClass> {
    let exports: Record<string, unknown>;
    try {
      exports = (await import(source.module)) as Record<string, unknown>;
    } catch (error) {
      throw new HalleyError(
        'ACTOR_MODULE',
        'the module of an actor cannot be imported',
        { module: source.module },
        error,
      );
    }
    const found = exports[source.export];
    if (typeof found !== 'function') {
      throw new HalleyError('ACTOR_MODULE', 'the module exports no class of this name', {
        module: source.module,
        export: source.export,
      });
    }
    const loaded = found as ActorClass;
    this.#classes.set(label, loaded);
    return loaded;
  }
}
