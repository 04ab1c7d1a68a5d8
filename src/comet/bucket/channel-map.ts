import type { ChannelMap, Channel as ChannelPort } from '../../push/index.js';

/** The default channel map: one hash map per bucket. */
export class MemoryChannelMap implements ChannelMap {
  readonly #byId = new Map<string, ChannelPort>();

  add(channel: ChannelPort): void {
    this.#byId.set(channel.id(), channel);
  }

  remove(id: string): void {
    this.#byId.delete(id);
  }

  get(id: string): ChannelPort | undefined {
    return this.#byId.get(id);
  }

  all(): readonly ChannelPort[] {
    return [...this.#byId.values()];
  }
}
