/**
 * What may stand in a record, checked the same way by every adapter.
 */
import { HalleyError } from '../errors/index.js';
import { COUNTED_ID_END } from './id-value.js';
import type { SegmentContent } from './segment-store.port.js';

const MAX_TAKE_COUNT = 2 ** 40;
const MAX_TAG_LENGTH = 200;
const MAX_NOTE_LENGTH = 4_000;

/** Throws ID_BAD_TAG. */
export function requireTag(tag: string): void {
  if (tag.length < 1 || tag.length > MAX_TAG_LENGTH || /[^\x21-\x7e]/.test(tag)) {
    throw new HalleyError('ID_BAD_TAG', `a tag is 1 to ${MAX_TAG_LENGTH} printable ASCII characters without blanks`, {
      tag: tag.slice(0, 60),
    });
  }
}

/** Throws ID_BAD_TAG or ID_BAD_COUNT. */
export function requireTake(tag: string, count: number): void {
  requireTag(tag);
  if (!Number.isInteger(count) || count < 1 || count > MAX_TAKE_COUNT) {
    throw new HalleyError('ID_BAD_COUNT', `1 to ${MAX_TAKE_COUNT} numbers are taken at a time`, { tag, count });
  }
}

/** Throws ID_BAD_TAG or ID_BAD_RECORD. */
export function requireContent(tag: string, { nextId, endId, note }: SegmentContent): void {
  requireTag(tag);
  const isWhole = Number.isSafeInteger(nextId) && Number.isSafeInteger(endId);
  if (!isWhole || nextId < 0 || endId < nextId || endId > COUNTED_ID_END || note.length > MAX_NOTE_LENGTH) {
    throw new HalleyError(
      'ID_BAD_RECORD',
      `a counter has 0 <= nextId <= endId <= ${COUNTED_ID_END} and a note of at most ${MAX_NOTE_LENGTH} characters`,
      { tag, nextId, endId, noteLength: note.length },
    );
  }
}

/** The version of a record that is made now: one that no record before it is likely to have had. 44 bits of the incarnation. */
export function firstVersionOf(incarnation: string): number {
  return Number.parseInt(incarnation.slice(0, 11), 16) + 1;
}
