/**
 * redis-script: a Lua script by its hash, and whole where the server does not have it (first call, restart, failover).
 *
 * Threads: control thread.
 * Guarantees: one round trip once the server knows the script; the client's command timeout bounds it.
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

export class RedisScript {
  readonly #source: string;
  readonly #hash: string;

  /** @param moduleUrl import.meta.url of the adapter that the file stands beside */
  constructor(moduleUrl: string, fileName: string) {
    this.#source = luaSource(moduleUrl, fileName);
    this.#hash = createHash('sha1').update(this.#source).digest('hex');
  }

  /** The script's reply as ioredis gives it: texts are strings, integers numbers. */
  run(client: RedisClient, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#known(
      () => client.evalsha(this.#hash, keys.length, ...keys, ...args),
      () => client.eval(this.#source, keys.length, ...keys, ...args),
    );
  }

  /** The script's reply raw: texts are Buffers, integers numbers. */
  runRaw(client: RedisClient, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    const scripts = client as unknown as RawScripts;
    const rest = [...keys, ...args];
    return this.#known(
      () => scripts.evalshaBuffer(this.#hash, keys.length, rest),
      () => scripts.evalBuffer(this.#source, keys.length, rest),
    );
  }

  async #known(byHash: () => Promise<unknown>, whole: () => Promise<unknown>): Promise<unknown> {
    try {
      return await byHash();
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return await whole();
    }
  }
}
