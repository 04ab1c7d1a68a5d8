/**
 * A Lua script of the durable queue: sent by its hash, and whole where the server does not have it (first call, restart).
 *
 * Threads: control thread. Replies are raw: texts are Buffers, integers numbers.
 */
import { createHash } from 'node:crypto';
import { luaSource } from './lua-source.js';
import type { RedisClient } from './redis-link.js';

export type ScriptArgument = string | number | Buffer;

/**
 * What ioredis has and does not declare. Not its `call`, which throws outside of every promise on a client that pipelines by
 * itself (6.0.0: the name of the command is taken for its arguments).
 */
interface RawScripts {
  evalshaBuffer(hash: string, keyCount: number, rest: readonly ScriptArgument[]): Promise<unknown>;
  evalBuffer(source: string, keyCount: number, rest: readonly ScriptArgument[]): Promise<unknown>;
}

export class RedisQueueScript {
  readonly #source: string;
  readonly #hash: string;

  /** @param fileName beside this module */
  constructor(fileName: string) {
    this.#source = luaSource(import.meta.url, fileName);
    this.#hash = createHash('sha1').update(this.#source).digest('hex');
  }

  async run(client: RedisClient, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    const scripts = client as unknown as RawScripts;
    const rest = [...keys, ...args];
    try {
      return await scripts.evalshaBuffer(this.#hash, keys.length, rest);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return await scripts.evalBuffer(this.#source, keys.length, rest);
    }
  }
}
