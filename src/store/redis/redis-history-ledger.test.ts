import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RedisServer, startRedis } from '../../../test/kit/index.js';
import { HistoryRules } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import { memoryLog } from '../../telemetry/index.js';
import { CONTRACT_RULES, idOf } from '../history.contract.js';
import { RedisHistory } from './redis-history.js';
import { PUSHED_WINDOW_MS, RedisHistoryLedger } from './redis-history-ledger.js';
import { RedisLink } from './redis-link.js';

let server: RedisServer;
let link: RedisLink;
let ledger: RedisHistoryLedger;
let history: RedisHistory;
beforeAll(async () => {
  server = await startRedis();
  link = await RedisLink.open(
    { url: server.url, prefix: 'l', tlsCaFile: '', connectTimeoutMs: 1000, commandTimeoutMs: 2000, clientName: 'test' },
    memoryLog().logger,
  );
  const rules = new HistoryRules(CONTRACT_RULES);
  ledger = new RedisHistoryLedger(link, rules);
  history = new RedisHistory(link, rules);
});
afterAll(async () => {
  link.close();
  await server.remove();
});

const push = (no: number, hash = `hash\xff\x00 ${no}`) => ({
  op: 1000,
  body: Buffer.from(`${no}`),
  messageId: idOf(no),
  commandHash: hash,
});

describe('RedisHistoryLedger', () => {
  it('lets only who claimed the room append, numbers and keeps what he appends, and records it', async () => {
    const room = 'wide://claimed';
    expect(await ledger.append(room, 'a', push(1))).toBeUndefined();
    expect(await ledger.claim(room, 'a', '', 10)).toEqual([]);
    const first = await ledger.append(room, 'a', push(1));
    const second = await ledger.append(room, 'a', push(2));
    expect(await ledger.append(room, 'b', push(3))).toBeUndefined();
    const entries = [
      { entryId: first, commandHash: 'hash\xff\x00 1' },
      { entryId: second, commandHash: 'hash\xff\x00 2' },
    ];
    expect(await ledger.read(room, '', 10)).toEqual(entries);
    expect(await ledger.claim(room, 'b', first!, 10)).toEqual(entries.slice(1));
    expect(await ledger.append(room, 'a', push(3))).toBeUndefined();
    expect(await ledger.append(room, 'b', push(3))).toBeDefined();
    // What others append goes into the same sequence and not into the record.
    const { epoch, offset } = await history.append(room, 1000, Buffer.from('4'), idOf(4));
    expect(offset).toBe(4);
    const range = await history.range(room, epoch, 1, { maxMessages: 10, maxBytes: 1_000 });
    if (!range.isRecoverable) throw new Error('not recoverable');
    expect(range.messages.map(({ body }) => Buffer.from(body).toString())).toEqual(['1', '2', '3', '4']);
    expect((await ledger.read(room, '', 10)).length).toBe(3);
  });

  it('keeps a message of the same id once, and reads the record in pieces', async () => {
    const room = 'wide://pieces';
    await ledger.claim(room, 'a', '', 10);
    for (let no = 1; no <= 5; no++) await ledger.append(room, 'a', push(no, 'same'));
    expect(await ledger.append(room, 'a', push(5, 'same'))).toBe('');
    const pieces = [await ledger.read(room, '', 2)];
    pieces.push(await ledger.read(room, pieces[0]!.at(-1)!.entryId, 10));
    expect(pieces.map((piece) => piece.length)).toEqual([2, 3]);
    expect(new Set(pieces.flat().map(({ entryId }) => entryId)).size).toBe(5);
  });

  it('lets the record end soon and the claim later', async () => {
    const room = 'wide://ends';
    await ledger.claim(room, 'a', '', 10);
    await ledger.append(room, 'a', push(1));
    const recordMs = await link.commands.pttl(link.keys.room(room, 'pushed'));
    expect(recordMs).toBeGreaterThan(PUSHED_WINDOW_MS - 2_000);
    expect(recordMs).toBeLessThanOrEqual(PUSHED_WINDOW_MS);
    expect(await link.commands.pttl(link.keys.room(room, 'writer'))).toBeGreaterThan(PUSHED_WINDOW_MS);
  });

  it('rejects with REDIS_AWAY where Redis refuses', async () => {
    const room = 'wide://refused';
    await link.commands.set(link.keys.room(room, 'pushed'), 'no stream');
    await expect(ledger.read(room, '', 1)).rejects.toThrow(HalleyError);
    await expect(ledger.claim(room, 'a', '', 1)).rejects.toMatchObject({ code: 'REDIS_AWAY' });
  });
});
