/**
 * The marks of users in Redis: which node tells that a user came or went (`UserMarks`).
 *
 * A mark `{prefix}:up:{mid}` is absent, `on F L` (the user has, or had, a device; F arrived first, and L changes with each first
 * device on a node), or `off T` ("offline" was told). Who wants to tell "offline" reads the mark, asks for the user's sessions, and claims
 * with the mark it read: a session that came in between has changed it, a node that was faster has set `off`.
 *
 * Threads: control thread only.
 * Guarantees: of all claims on one mark one succeeds, and goes on succeeding when it is asked again. Where Redis lost its data,
 *   the next claim of each user succeeds once. A mark of a cluster that died whole stays: that user's next "online" is not told.
 */
import type { UserChange, UserMarks } from '../../push/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink } from './redis-link.js';

/** Longer than any claim takes from its sight of the mark on. */
const TOLD_TTL_MS = 3_600_000;

interface MarkCommands {
  halleyUserArrived(key: string, token: string): Promise<number>;
  halleyUserDeparted(key: string, seen: string, token: string, toldTtlMs: number): Promise<number>;
}

export class RedisUserMarks implements UserMarks {
  readonly #link: RedisLink;
  readonly #commands: MarkCommands;

  constructor(link: RedisLink) {
    this.#link = link;
    for (const [name, file] of [
      ['halleyUserArrived', 'redis-events-arrived.lua'],
      ['halleyUserDeparted', 'redis-events-departed.lua'],
    ] as const) {
      link.commands.defineCommand(name, { numberOfKeys: 1, lua: luaSource(import.meta.url, file) });
    }
    this.#commands = link.commands as unknown as MarkCommands;
  }

  async arrived(changes: readonly UserChange[]): Promise<readonly boolean[]> {
    const { keys } = this.#link;
    const answers = changes.map(({ mid, token }) => this.#commands.halleyUserArrived(keys.userMark(mid), token));
    return (await Promise.all(answers)).map((answer) => answer === 1);
  }

  async read(mids: readonly number[]): Promise<readonly string[]> {
    const { commands, keys } = this.#link;
    const marks = await Promise.all(mids.map((mid) => commands.get(keys.userMark(mid))));
    return marks.map((mark) => mark ?? '');
  }

  async departed(changes: readonly (UserChange & { readonly seenMark: string })[]): Promise<readonly boolean[]> {
    const { keys } = this.#link;
    const answers = changes.map(({ mid, token, seenMark }) =>
      this.#commands.halleyUserDeparted(keys.userMark(mid), seenMark, token, TOLD_TTL_MS),
    );
    return (await Promise.all(answers)).map((answer) => answer === 1);
  }
}
