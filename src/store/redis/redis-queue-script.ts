/**
 * A Lua script of the durable queue: sent by its hash, and whole where the server does not have it (first call, restart).
 *
 * Threads: control thread. Replies are raw: texts are Buffers, integers numbers.
 */
import { createHash } from 'node:crypto';
import { luaSource } from './lua-source.js';
import type { RedisClient } from './redis-link.js';

export type ScriptArgument = string | number | Buffer;

export class RedisQueueScript {
  readonly #source: string;
  readonly #hash: string;

  /** @param fileName beside this module */
  constructor(fileName: string) {
    this.#source = luaSource(import.meta.url, fileName);
    this.#hash = createHash('sha1').update(this.#source).digest('hex');
  }

  async run(client: RedisClient, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    const rest = [keys.length, ...keys, ...args];
    try {
      return await client.callBuffer('evalsha', [this.#hash, ...rest]);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return await client.callBuffer('eval', [this.#source, ...rest]);
    }
  }
}
