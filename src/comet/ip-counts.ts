/**
 * Channels per remote address, so that addresses can be counted.
 *
 * Threads: control thread only. Memory: one map entry per address with a channel.
 */
export class IpCounts {
  readonly #channelCountByIp = new Map<string, number>();

  get ipCount(): number {
    return this.#channelCountByIp.size;
  }

  add(ip: string): void {
    this.#channelCountByIp.set(ip, (this.#channelCountByIp.get(ip) ?? 0) + 1);
  }

  remove(ip: string): void {
    const count = this.#channelCountByIp.get(ip) ?? 0;
    if (count <= 1) this.#channelCountByIp.delete(ip);
    else this.#channelCountByIp.set(ip, count - 1);
  }
}
