/**
 * The lines of the embedded counters' log, and what they do to the counters: a pure fold, the same in every process that reads it.
 *
 *   take <nonce> <tag> <count> <check>                                          count numbers for who wrote it
 *   set  <nonce> <tag> <version> <nextId> <endId> <note> <incarnation> <check>  if the counter has this version
 *   base <tag> <version> <nextId> <endId> <note> <incarnation> <check>          a counter carried over from the log before
 *   roll <nonce> <check>                                                        the log ends here: later lines are void
 *
 * Every line is written with a newline before and after it, in one write: a line torn by a crash ends at the next one's newline.
 * A torn line was never answered and is passed over; a whole line whose check (CityHash32 of what stands before it) is wrong is
 * damage, and an error, because passing it over could repeat numbers.
 */
import { HalleyError } from '../errors/index.js';
import { cityHash32, firstVersionOf, type SegmentGrant, type SegmentRecord } from '../id/index.js';

/** What became of the line that a process waits for; a number is the new version of a record. */
export type LineResult = SegmentGrant | 'unknown' | 'other-version' | 'void' | number;

const FIELD_COUNT: Readonly<Record<string, number>> = { take: 4, set: 8, base: 7, roll: 2 };

export function takeLine(nonce: string, tag: string, count: number): string {
  return withCheck(`take ${nonce} ${encode(tag)} ${count}`);
}

export function setLine(
  nonce: string,
  tag: string,
  version: number,
  record: Pick<SegmentRecord, 'nextId' | 'endId' | 'note' | 'incarnation'>,
): string {
  const { nextId, endId, note, incarnation } = record;
  return withCheck(`set ${nonce} ${encode(tag)} ${version} ${nextId} ${endId} ${encode(note)} ${incarnation}`);
}

export function rollLine(nonce: string): string {
  return withCheck(`roll ${nonce}`);
}

export class SegmentLog {
  readonly records = new Map<string, SegmentRecord>();
  /** A roll was read: the next log goes on from these records. */
  isRolled = false;

  /** The lines that the next log begins with. */
  snapshot(): string {
    let text = '';
    for (const [tag, { version, nextId, endId, note, incarnation }] of this.records) {
      text += withCheck(`base ${encode(tag)} ${version} ${nextId} ${endId} ${encode(note)} ${incarnation}`);
    }
    return text;
  }

  /**
   * Apply one line. @returns what it did, and to whose request ('' for none)
   * @throws HalleyError ID_STORE_CORRUPT
   */
  apply(line: string): { nonce: string; result: LineResult } | undefined {
    const fields = line.split(' ');
    const check = fields.pop();
    const [verb = '', ...args] = fields;
    if (fields.length !== FIELD_COUNT[verb] || check === undefined || !/^\d{10}$/.test(check)) return undefined;
    if (Number(check) !== checkOf(fields.join(' '))) {
      throw new HalleyError(
        'ID_STORE_CORRUPT',
        'a line of the counters is damaged, so ids could repeat: restore the file',
        {
          line: line.slice(0, 100),
        },
      );
    }
    if (verb === 'base') {
      const [tag = '', version, nextId, endId, note = '', incarnation = ''] = args;
      this.records.set(decode(tag), {
        nextId: Number(nextId),
        endId: Number(endId),
        note: decode(note),
        incarnation,
        version: Number(version),
      });
      return undefined;
    }
    const nonce = args[0]!;
    if (this.isRolled) return { nonce, result: 'void' };
    if (verb === 'take') return { nonce, result: this.#take(decode(args[1]!), Number(args[2])) };
    if (verb === 'set') return { nonce, result: this.#set(args) };
    this.isRolled = true;
    return undefined;
  }

  #take(tag: string, count: number): LineResult {
    const record = this.records.get(tag);
    if (record === undefined) return 'unknown';
    const { nextId: firstId, note, incarnation, version } = record;
    const endId = Math.min(firstId + count, record.endId);
    this.records.set(tag, { ...record, nextId: endId, version: version + 1 });
    return { firstId, endId, note, incarnation };
  }

  #set(args: readonly string[]): LineResult {
    const [, tagText = '', version, nextId, endId, note = '', newIncarnation = ''] = args;
    const tag = decode(tagText);
    const standing = this.records.get(tag);
    if ((standing?.version ?? 0) !== Number(version)) return 'other-version';
    const newVersion = standing === undefined ? firstVersionOf(newIncarnation) : standing.version + 1;
    this.records.set(tag, {
      nextId: Number(nextId),
      endId: Number(endId),
      note: decode(note),
      incarnation: standing?.incarnation ?? newIncarnation,
      version: newVersion,
    });
    return newVersion;
  }
}

function withCheck(text: string): string {
  return `\n${text} ${String(checkOf(text)).padStart(10, '0')}\n`;
}

function checkOf(text: string): number {
  return cityHash32(new TextEncoder().encode(text));
}

/** Never empty, and without a blank or newline. */
function encode(text: string): string {
  return `=${encodeURIComponent(text)}`;
}

function decode(text: string): string {
  return decodeURIComponent(text.slice(1));
}
