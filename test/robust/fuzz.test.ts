/**
 * Whatever one connection sends, it costs that connection at most: it is closed with a reason, and nobody else notices.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeAuthBody, encodePacket, OP } from '../../src/protocol/index.js';
import { eventually, type HalleyProcess, nodeStats, pushRoom, startHalley, WireClient } from '../kit/index.js';
import { CONTROL_ROOM, connectControls, expectControlsWhole, fuzz } from './fuzzing.js';
import { frame, OPCODE, type RawEnd, RawWebSocket, upgradeRequest } from './raw-web-socket.js';

let halley: HalleyProcess;
let controls: WireClient[];
let pushed = 0;

beforeAll(async () => {
  halley = await startHalley();
  controls = await connectControls(halley);
});
afterAll(async () => {
  for (const client of controls) await client.close();
  const left = ['channels', 'sessions', 'rooms'] as const;
  await eventually(
    async () => {
      const { totals } = await nodeStats(halley.httpUrl);
      return left.every((name) => totals[name] === 0);
    },
    5_000,
    'every counter back at zero',
  );
  expect(await halley.stop()).toBe(0);
});

/** Push once and see that every control client has everything so far. */
async function expectNobodyNoticed(): Promise<void> {
  await pushRoom(halley.httpUrl, CONTROL_ROOM, String(pushed++));
  await expectControlsWhole(controls, pushed);
  expect(halley.output()).not.toMatch(/"level":"(error|fatal)"/);
}

/** Pass auth, send, and give the end of the connection. */
async function endAfter(bytes: Uint8Array, withAuth = true): Promise<RawEnd> {
  const raw = await RawWebSocket.upgrade(halley.wsPort);
  if (withAuth) raw.write(frame(encodePacket(OP.AUTH, 1, 1, encodeAuthBody({ key: 'offender', extended: true }))));
  raw.write(bytes);
  return eventually(() => raw.end, 5_000, 'the end of the connection');
}

function headerOf(packetBytes: number, headerBytes: number, op: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeInt32BE(packetBytes, 0);
  bytes.writeInt16BE(headerBytes, 4);
  bytes.writeInt16BE(1, 6);
  bytes.writeInt32BE(op, 8);
  return bytes;
}

it.each([
  ['a header cut short', frame(Buffer.from([0, 0, 0])), 3502, 'BAD_LENGTH'],
  ['a length beyond the message', frame(headerOf(4_000, 16, 2)), 3502, 'BAD_LENGTH'],
  ['a negative length', frame(headerOf(-5, 16, 2)), 3502, 'BAD_LENGTH'],
  ['another header length', frame(headerOf(16, 20, 2)), 3502, 'BAD_HEADER_LENGTH'],
  ['a body above the limit of its operation', frame(encodePacket(4, 1, 1, Buffer.alloc(5_000))), 3503, 'bytes=5000'],
  ['a body above every limit', frame(encodePacket(30, 1, 1, Buffer.alloc(66_000))), 3503, 'bytes=66000'],
  ['a text frame of garbage', frame(Buffer.from('GET / HTTP/1.1 garbage'), OPCODE.TEXT), 3502, ''],
])('closes the connection with a reason after %s', async (_, bytes, code, reason) => {
  const end = await endAfter(bytes);
  expect(end.code).toBe(code);
  expect(end.reason).toContain(reason);
  expect(end.reason).not.toBe('');
  await expectNobodyNoticed();
});

it.each([
  ['no JSON', Buffer.from('{"mid":')],
  ['a wrong type', Buffer.from('{"mid":"12"}')],
  ['an empty body', Buffer.alloc(0)],
])('closes the connection with 3504 after an auth packet with %s', async (_, body) => {
  expect(await endAfter(frame(encodePacket(OP.AUTH, 1, 1, body)), false)).toMatchObject({ code: 3504 });
  await expectNobodyNoticed();
});

it.each([
  ['a message above what uWS takes', frame(Buffer.alloc(200_000))],
  ['an unknown WebSocket opcode', frame(Buffer.alloc(16), 3)],
  ['text that is no UTF-8', frame(Buffer.from([0xff, 0xfe, 0xfd]), OPCODE.TEXT)],
])('leaves the end to uWS after %s', async (_, bytes) => {
  expect((await endAfter(bytes)).code).toBeLessThan(3000);
  await expectNobodyNoticed();
});

it('answers an unknown operation with an empty body and keeps the connection', async () => {
  const client = await WireClient.connect(halley.wsUrl, { key: 'unknown-op' });
  for (const op of [77, 5_000, -1, 2 ** 31 - 1]) expect((await client.request(op, 'what?')).body.length).toBe(0);
  await client.close();
  await expectNobodyNoticed();
});

it('is not disturbed by half a handshake, and refuses a path that is not /sub', async () => {
  const halves = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      RawWebSocket.open(halley.wsPort, upgradeRequest().slice(0, 1 + index * 2)),
    ),
  );
  await expectNobodyNoticed();
  const wrongPath = await RawWebSocket.open(halley.wsPort, upgradeRequest('/other'));
  await eventually(() => wrongPath.head.includes('404'), 5_000, 'status 404');
  for (const raw of [...halves, wrongPath]) raw.destroy();
  await expectNobodyNoticed();
});

it('survives 20,000 mutations of valid traffic while a room goes on in order', { timeout: 90_000 }, async () => {
  const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`fuzz: TEST_SEED=${seed}\n`);
  const counted = await fuzz(halley, controls, 20_000, seed);
  process.stdout.write(`fuzz: ${counted}\n`);
  pushed = controls[0]?.messages.length ?? 0;
  await expectNobodyNoticed();
});
