/**
 * redis-script: a Lua script by its hash, and whole where the server does not have it (first call, restart, failover).
 *
 * Threads: control thread.
 * Guarantees: one round trip once the server knows the script; the link's command timeout bounds it.
 */
import { createHash } from 'node:crypto';
import { luaSource } from './lua-source.js';
import type { RedisClient } from './redis-link.js';

export class RedisScript {
  readonly #source: string;
  readonly #hash: string;

  /** @param moduleUrl import.meta.url of the adapter that the file stands beside */
  constructor(moduleUrl: string, fileName: string) {
    this.#source = luaSource(moduleUrl, fileName);
    this.#hash = createHash('sha1').update(this.#source).digest('hex');
  }

  /** The script's reply as ioredis gives it: texts are strings, integers numbers. */
  async run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await client.evalsha(this.#hash, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return await client.eval(this.#source, keys.length, ...keys, ...args);
    }
  }
}
