/**
 * Counters in this process's memory: for tests, and for ids that need not outlive the process.
 *
 * Threads: one. Guarantees: the contract's, within the process; what it held is gone with it, and ids begin anew.
 */
import { randomBytes } from 'node:crypto';
import {
  firstVersionOf,
  requireContent,
  requireTag,
  requireTake,
  type SegmentContent,
  type SegmentGrant,
  type SegmentRecord,
  type SegmentStore,
} from '../id/index.js';

export class MemorySegmentStore implements SegmentStore {
  readonly mayForget = false;
  readonly #records = new Map<string, SegmentRecord>();

  async take(tag: string, count: number): Promise<SegmentGrant | undefined> {
    requireTake(tag, count);
    const record = this.#records.get(tag);
    if (record === undefined) return undefined;
    const { nextId: firstId, note, incarnation, version } = record;
    const endId = Math.min(firstId + count, record.endId);
    this.#records.set(tag, { ...record, nextId: endId, version: version + 1 });
    return { firstId, endId, note, incarnation };
  }

  async read(tag: string): Promise<SegmentRecord | undefined> {
    requireTag(tag);
    return this.#records.get(tag);
  }

  async replace(tag: string, content: SegmentContent, version: number): Promise<number> {
    requireContent(tag, content);
    const standing = this.#records.get(tag);
    if ((standing?.version ?? 0) !== version) return 0;
    const incarnation = standing?.incarnation ?? randomBytes(8).toString('hex');
    const { nextId, endId, note } = content;
    const newVersion = standing === undefined ? firstVersionOf(incarnation) : version + 1;
    this.#records.set(tag, { nextId, endId, note, incarnation, version: newVersion });
    return newVersion;
  }

  async close(): Promise<void> {}
}
