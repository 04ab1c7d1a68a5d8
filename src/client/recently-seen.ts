/** The newest so many message ids, to drop what comes twice. */
export class RecentlySeen {
  readonly #maxCount: number;
  /** A Set keeps the order in which its members were added. */
  readonly #ids = new Set<string>();

  constructor(maxCount: number) {
    this.#maxCount = maxCount;
  }

  /** @returns false where `id` is among them already */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > this.#maxCount) {
      for (const oldest of this.#ids) {
        this.#ids.delete(oldest);
        break;
      }
    }
    return true;
  }
}
