import { beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../../test/kit/eventually.js';
import { OUTCOME } from '../../errors/index.js';
import { PUSH_OUTCOME, type PushCommand } from '../../push/index.js';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { InMemoryRing } from '../fixtures/in-memory-ring.js';
import { RecordLink } from '../record-link.js';
import { MESSAGE } from '../thread-messages.js';
import { CHANNEL_STATE, type Channel } from './channel.js';
import { ControlRequests } from './control-requests.js';

let bucket: BucketParts;
let ring: InMemoryRing;
let link: RecordLink;
let requests: ControlRequests;
let log: string[];
beforeEach(() => {
  bucket = new BucketParts();
  ring = new InMemoryRing();
  link = new RecordLink(ring.writer, () => {});
  log = [];
  const { slots, shards, rooms } = bucket;
  requests = new ControlRequests({
    link,
    slots,
    shards,
    rooms,
    flushChannel: (channel) => void log.push(`flush ${channel.key}`),
    reloadTls: (set) => (set.generation === 13 ? Promise.reject(new Error('a bad one')) : Promise.resolve()),
    log: { error: (fields) => void log.push(`error ${String(fields['err'])}`) },
    close: (channel, code, reason, { reconnect, retryAfterMs }) => {
      log.push(`close ${channel.key} ${code} ${reason} ${reconnect} ${retryAfterMs}`);
      bucket.close(channel, { code, reason, doc: '' }, reason);
    },
  });
});

/** What the control thread has been told since the last call. */
const told = () => ring.read(0).map(({ bytes }) => link.decode(bytes, 0, bytes.length));
const connId = (channel: Channel) => bucket.slots.connIdOf(channel);
const push = (text: string): PushCommand => ({
  target: { kind: 'rooms', rooms: ['live://1'] },
  op: 1000,
  body: new TextEncoder().encode(text),
});

describe('a close from the control thread', () => {
  it('sends what waits first, closes with the advice, and counts whom it found', () => {
    const [first, second] = [bucket.channel({ key: 'a' }), bucket.channel({ key: 'b' })];
    const ids = [connId(first.channel), connId(second.channel), 4_711];
    requests.onClose([MESSAGE.CLOSE, 9, ids, 3501, 'bye', false, 250]);
    expect(log).toEqual(['flush a', 'close a 3501 bye false 250', 'flush b', 'close b 3501 bye false 250']);
    expect(told()).toEqual([[MESSAGE.DONE, 9, 2]]);
    requests.onClose([MESSAGE.CLOSE, 10, ids, 3501, 'bye', false, 250]);
    expect(told()).toEqual([[MESSAGE.DONE, 10, 0]]);
  });

  it('that nobody waits for, as at a takeover, is not answered', () => {
    const { channel } = bucket.channel({ key: 'a' });
    requests.onClose([MESSAGE.CLOSE, 0, [connId(channel)], 3500, 'taken over', false, 0]);
    expect([told(), log.length]).toEqual([[], 2]);
  });
});

describe('rooms on behalf of the backend', () => {
  it('are joined when they are open, by channels that are ready then, up to their limit', () => {
    const [first, second] = [bucket.channel(), bucket.channel()];
    const connecting = bucket.channel({ state: CHANNEL_STATE.CONNECTING });
    const leaving = bucket.channel();
    bucket.enter(second.channel, 'live://8');
    bucket.enter(second.channel, 'live://9');
    const ids = [first, second, connecting, leaving].map(({ channel }) => connId(channel));
    requests.onJoin([MESSAGE.JOIN, 3, ids, ['live://1', 'live://2']]);
    expect(told()).toEqual([]);
    bucket.gone(leaving.channel);
    bucket.answer();
    expect(told()).toEqual([[MESSAGE.DONE, 3, 2]]);
    expect([first, second, connecting].map(({ channel }) => channel.rooms())).toEqual([
      ['live://1', 'live://2'],
      ['live://8', 'live://9', 'live://1'],
      [],
    ]);
    expect(bucket.events).toContain('room refused');
  });

  it('are left at once', () => {
    const { channel } = bucket.channel();
    bucket.enter(channel, 'live://1');
    requests.onLeave([MESSAGE.LEAVE, 4, [connId(channel), 4_711], ['live://1', 'live://2']]);
    expect([told(), channel.rooms()]).toEqual([[[MESSAGE.DONE, 4, 1]], []]);
  });

  it('of nobody are answered without opening any', () => {
    requests.onJoin([MESSAGE.JOIN, 5, [4_711], ['live://1']]);
    expect([told(), bucket.shards.count, bucket.asked]).toEqual([[[MESSAGE.DONE, 5, 0]], 0, []]);
  });
});

describe("an application's push to the node", () => {
  it('resolves with the outcome of its own request, whatever the order of the answers', async () => {
    const outcomes = [requests.publish(push('a')), requests.publish(push('b'))];
    expect(told()).toEqual(
      ['a', 'b'].map((text, index) => [
        MESSAGE.PUBLISH,
        index + 1,
        { kind: 'rooms', rooms: ['live://1'] },
        1000,
        new Uint8Array(Buffer.from(text)),
      ]),
    );
    requests.onPublished([MESSAGE.PUBLISHED, 2, PUSH_OUTCOME.FULL]);
    requests.onPublished([MESSAGE.PUBLISHED, 1, PUSH_OUTCOME.OK]);
    requests.onPublished([MESSAGE.PUBLISHED, 1, PUSH_OUTCOME.CLOSED]);
    expect(await Promise.all(outcomes)).toEqual([PUSH_OUTCOME.OK, PUSH_OUTCOME.FULL]);
  });

  it('rejects where it is too large for the ring', async () => {
    await expect(requests.publish(push('x'.repeat(20_000)))).rejects.toMatchObject({
      code: 'CONTROL_RECORD_TOO_LARGE',
    });
    expect(told()).toEqual([]);
  });

  it('whose answer was lost resolves as closed', async () => {
    const outcome = requests.publish(push('a'));
    requests.reset();
    expect(await outcome).toBe(PUSH_OUTCOME.CLOSED);
    requests.onPublished([MESSAGE.PUBLISHED, 1, PUSH_OUTCOME.OK]);
  });

  it('to one key is handed over without an answer, unless earlier messages wait for room', () => {
    expect(requests.pushToKey('device', 1000, new Uint8Array([1]))).toBe(OUTCOME.OK);
    expect(told()).toEqual([
      [MESSAGE.PUBLISH, 0, { kind: 'keys', keys: ['device'], ignoresWatchSet: true }, 1000, new Uint8Array([1])],
    ]);
    while (ring.writer.claim(8) === OUTCOME.OK) ring.writer.commit(99, 0, 8);
    link.send(1, ['waits']);
    expect(requests.pushToKey('device', 1000, new Uint8Array([1]))).toBe(OUTCOME.FULL);
    link.close();
  });
});

describe('new certificates from the control thread', () => {
  const set = (generation: number) =>
    ({ generation, minVersion: '1.2', certificates: [{ serverName: '', certFile: 'c', keyFile: 'k' }] }) as const;

  it('are answered when the doors have them, and where a door refuses them with 0 and the reason in the log', async () => {
    const answers: unknown[] = [];
    const answered = (count: number) => () => {
      answers.push(...told());
      return answers.length === count;
    };
    requests.onTls([MESSAGE.TLS, 5, set(2)]);
    await eventually(answered(1));
    expect([answers, log]).toEqual([[[MESSAGE.DONE, 5, 1]], []]);
    requests.onTls([MESSAGE.TLS, 6, set(13)]);
    await eventually(answered(2));
    expect([answers[1], log]).toEqual([[MESSAGE.DONE, 6, 0], ['error Error: a bad one']]);
  });
});
