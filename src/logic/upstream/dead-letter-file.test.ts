import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../clock/index.js';
import { DEAD_LETTER_FILE, DeadLetterFile, OLDER_DEAD_LETTER_FILE } from './dead-letter-file.js';
import { eventOf } from './fixtures/upstream-parts.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'halley-dead-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const batchOf = (id: number, padBytes = 0) => ({
  ...{ deliveryId: String(id), batchNo: id, lane: 0, attempt: 1 },
  events: [eventOf(id, 'message', padBytes)],
});
const idsIn = async (name: string) =>
  (await readFile(join(directory, name), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { delivery_id: string }).delivery_id);

describe('the file of dead letters', () => {
  it('holds a line per batch, in the order of the calls, also where nobody waits for them', async () => {
    const file = new DeadLetterFile(join(directory, 'deep'), 1_000_000, new ManualClock(5_000));
    await Promise.all([1, 2, 3].map((id) => file.store(batchOf(id), 'status 400')));
    const lines = (await readFile(join(directory, 'deep', DEAD_LETTER_FILE), 'utf8')).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      [1, 2, 3].map((id) => ({
        at_ms: 5_000,
        cause: 'status 400',
        delivery_id: String(id),
        events: [{ id: String(id), type: 'message', pad: '' }],
      })),
    );
    expect((await stat(join(directory, 'deep', DEAD_LETTER_FILE))).mode & 0o077).toBe(0);
  });

  it('stays within its bound and keeps the newest', async () => {
    const file = new DeadLetterFile(directory, 4_000, new ManualClock(5_000));
    for (let id = 1; id <= 20; id++) await file.store(batchOf(id, 400), 'status 400');
    const ids = [...(await idsIn(OLDER_DEAD_LETTER_FILE)), ...(await idsIn(DEAD_LETTER_FILE))];
    expect(ids.at(-1)).toBe('20');
    expect(ids).toEqual(Array.from({ length: ids.length }, (_, index) => String(20 - ids.length + 1 + index)));
    let bytes = 0;
    for (const name of [DEAD_LETTER_FILE, OLDER_DEAD_LETTER_FILE]) bytes += (await stat(join(directory, name))).size;
    expect(bytes).toBeLessThanOrEqual(4_000);
    expect(bytes).toBeGreaterThan(2_000);
  });

  it('says that it could not be written, and goes on with the next', async () => {
    const place = join(directory, 'not-yet');
    const broken = new DeadLetterFile(join(directory, 'not-yet\0'), 4_000, new ManualClock(5_000));
    await expect(broken.store(batchOf(1), 'x')).rejects.toThrow();
    const file = new DeadLetterFile(place, 4_000, new ManualClock(5_000));
    await file.store(batchOf(2), 'x');
    expect(await readFile(join(place, DEAD_LETTER_FILE), 'utf8')).toContain('"delivery_id":"2"');
  });
});
