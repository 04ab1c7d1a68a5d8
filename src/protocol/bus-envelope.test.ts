import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUS_VERSION, type BusMessage, decodeBusEnvelope, encodeBusEnvelope, isBusEnvelope } from './bus-envelope.js';
import { encodeBody } from './codec.js';

const MAX_BYTES = 100_000;
const ORIGIN = { serverId: 'node-a', incarnation: 0xffff_ffff, counter: 2 ** 40 };
const PAYLOAD = { op: -5, body: new Uint8Array([1, 2, 0xff]), messageId: new Uint8Array(8).fill(7) };
const ADVICE = { code: 3500, reason: 'taken over', reconnect: false, retryAfterMs: 250 };
const OWNER = { key: 'k', serverId: 'node-b', nodeEpoch: 12, bucket: 3, connId: 2 ** 45 + 1 };
const MESSAGES: readonly BusMessage[] = [
  { kind: 'room', ...PAYLOAD },
  { kind: 'room', ...PAYLOAD, place: { epoch: 2 ** 50, offset: 9 } },
  { kind: 'keys', ...PAYLOAD, keys: ['a', '房'], ignoresWatchSet: true },
  { kind: 'mids', ...PAYLOAD, mids: [1, Number.MAX_SAFE_INTEGER] },
  { kind: 'all', ...PAYLOAD, speedPerSec: 5_000 },
  { kind: 'close', owner: OWNER, advice: ADVICE },
  { kind: 'disconnect', requestId: 4, keys: ['k'], mids: [], advice: ADVICE },
  { kind: 'join', requestId: 5, keys: [], mids: [7], rooms: ['live://1'] },
  { kind: 'leave', requestId: 6, keys: [], mids: [7], rooms: ['live://1', 'live://2'] },
  { kind: 'answer', requestId: 7, count: 2 },
  { kind: 'probe', serial: 8 },
];
/** As [version, kind, ...]; the kind of `MESSAGES` in the order of its list is fixed for ever. */
const problemOf = (elements: unknown) => {
  const result = decodeBusEnvelope(encodeBody('msgpack', elements), MAX_BYTES);
  return result.ok ? 'accepted' : result.error;
};

describe('an envelope of the bus', () => {
  it.each(MESSAGES.map((message) => [message.kind, message] as const))('carries %s as it was', (_, message) => {
    const bytes = encodeBusEnvelope(ORIGIN, message);
    expect(isBusEnvelope(bytes)).toBe(true);
    expect(decodeBusEnvelope(bytes, MAX_BYTES)).toEqual({ ok: true, value: { origin: ORIGIN, message } });
  });

  it('is told from what rooms with history publish by its first byte', () => {
    for (const version of [0, 1, 2, 0x7f]) expect(isBusEnvelope(new Uint8Array([version, 0, 0]))).toBe(false);
    expect(isBusEnvelope(new Uint8Array(0))).toBe(false);
  });

  it('has the bytes that other versions of this program read', () => {
    const bytes = encodeBusEnvelope(
      { serverId: 'a', incarnation: 1, counter: 2 },
      { kind: 'answer', requestId: 3, count: 4 },
    );
    expect(Buffer.from(bytes).toString('hex')).toBe('970109a16101020304');
  });

  it.each([
    [{ a: 1 }, /^an envelope must be an array/],
    [[BUS_VERSION + 1, 10, 'a', 1, 0, 1], /^an envelope must be of version 1: version=2$/],
    [[BUS_VERSION, 99, 'a', 1, 0, 1], /^an envelope must be of a known kind: kind=99$/],
    [[BUS_VERSION, 10, 5, 1, 0, 1], /^server id must be a string/],
    [[BUS_VERSION, 10, 'a', -1, 0, 1], /^incarnation must be an integer/],
    [[BUS_VERSION, 10, 'a', 1, 0.5, 1], /^counter must be an integer/],
    [[BUS_VERSION, 10, 'a', 1, 0], /^serial must be an integer .*nothing$/],
    [[BUS_VERSION, 10, 'a', 1, 0, 1, 2], /^an envelope of this kind has fewer elements: left=1$/],
    [[BUS_VERSION, 1, 'a', 1, 0, 2 ** 31, PAYLOAD.body, PAYLOAD.messageId], /^op must be an integer/],
    [[BUS_VERSION, 1, 'a', 1, 0, 1, 'text', PAYLOAD.messageId], /^body must be bytes/],
    [
      [BUS_VERSION, 1, 'a', 1, 0, 1, PAYLOAD.body, new Uint8Array(7)],
      /^message id must be 8 bytes: message id=7 bytes$/,
    ],
    [[BUS_VERSION, 1, 'a', 1, 0, 1, PAYLOAD.body, PAYLOAD.messageId, 1], /^offset must be an integer/],
    [[BUS_VERSION, 2, 'a', 1, 0, 1, PAYLOAD.body, PAYLOAD.messageId, ['x', 1], true], /^keys must be an array/],
    [
      [BUS_VERSION, 2, 'a', 1, 0, 1, PAYLOAD.body, PAYLOAD.messageId, ['x'], 1],
      /^ignores watch set must be true or false/,
    ],
    [[BUS_VERSION, 3, 'a', 1, 0, 1, PAYLOAD.body, PAYLOAD.messageId, [1.5]], /^mids must be an array/],
    [[BUS_VERSION, 3, 'a', 1, 0, 1, PAYLOAD.body, PAYLOAD.messageId, Array(65_537).fill(1)], /^mids must be an array/],
    [[BUS_VERSION, 5, 'x'.repeat(4_097), 1, 0], /^server id must be a string of at most 4096/],
  ])('is refused where it is wrong: %#', (elements, problem) => {
    expect(problemOf(elements)).toMatch(problem);
  });

  it('is refused above the bound of its bytes', () => {
    const bytes = encodeBusEnvelope(ORIGIN, { kind: 'room', ...PAYLOAD });
    expect(decodeBusEnvelope(bytes, bytes.length).ok).toBe(true);
    expect(decodeBusEnvelope(bytes, bytes.length - 1).ok).toBe(false);
  });

  it('never throws and never takes half a message, whatever bytes come', () => {
    for (const message of MESSAGES) {
      const bytes = encodeBusEnvelope(ORIGIN, message);
      for (let length = 0; length < bytes.length; length++) {
        expect(decodeBusEnvelope(bytes.subarray(0, length), MAX_BYTES).ok).toBe(false);
      }
    }
    fc.assert(
      fc.property(fc.constantFrom(...MESSAGES), fc.nat(), fc.integer({ min: 0, max: 255 }), (message, at, value) => {
        const bytes = encodeBusEnvelope(ORIGIN, message);
        bytes[at % bytes.length] = value;
        decodeBusEnvelope(bytes, MAX_BYTES);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        decodeBusEnvelope(bytes, MAX_BYTES);
      }),
    );
  });
});
