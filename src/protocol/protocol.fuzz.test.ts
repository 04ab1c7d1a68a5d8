/**
 * Mutated traffic against every reader: none throws, reads outside its bytes, or goes on for ever.
 *
 * Reads outside show as a difference: each input is read twice inside a larger buffer, surrounded by 0x00 once and by
 * 0xff once, and both readings must agree.
 */
import { describe, expect, it } from 'vitest';
import { parseAuthBody } from './auth-body.js';
import { decodeBatch, PacketCursor, writeBatchHeader } from './batch.js';
import { Batch26Cursor, batch26HeaderBytes, decodeBatch26, writeBatch26Header } from './batch26.js';
import {
  decodeDisconnect,
  decodeGap,
  decodeRecover,
  decodeRecoverReply,
  decodeRoomList,
  decodeRoomReplies,
} from './bodies.js';
import { CODECS, decodeBody, encodeBody } from './codec.js';
import type { Decoded } from './decoded.js';
import { concat, GOLDEN_PACKETS, hex, seededRandom, toHex } from './fixtures/traffic.js';
import { decodeImEvent, decodeImNotify, decodeImRequest, decodeImResponse } from './im-envelope.js';
import { parseOpList } from './op-list.js';
import { encodePacket, FRAMING, PARSE, PacketHeader, readPacket } from './packet.js';
import { PacketStream } from './packet-stream.js';
import { parsePushCommand, parsePushCommands } from './push-command.js';
import { encodeUtf8 } from './text.js';

const WIRE_ROUNDS = 100_000;
const BODY_ROUNDS = 20_000;
const SEED = 0x4a11e7;
const MARGIN_BYTES = 40;

/** 32-bit values that lengths are wrong at. */
const EDGES = [0, 1, 15, 16, 17, 4112, 4113, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** Flip, overwrite, cut, insert and repeat, once to four times. */
function mutate(original: Uint8Array, random: () => number): Uint8Array {
  const pick = (below: number) => Math.floor(random() * below);
  let bytes: Uint8Array = original.slice();
  for (let count = 1 + pick(4); count > 0; count--) {
    const offset = pick(bytes.length + 1);
    switch (pick(6)) {
      case 0:
        if (offset < bytes.length) bytes[offset] = bytes[offset]! ^ (1 << pick(8));
        break;
      case 1:
        if (offset < bytes.length) bytes[offset] = pick(256);
        break;
      case 2:
        if (bytes.length >= 4) new DataView(bytes.buffer).setUint32(pick(bytes.length - 3), EDGES[pick(EDGES.length)]!);
        break;
      case 3:
        bytes = bytes.slice(0, offset);
        break;
      case 4:
        bytes = concat(bytes.subarray(0, offset), Uint8Array.of(pick(256)), bytes.subarray(offset));
        break;
      default:
        bytes = concat(bytes.subarray(0, offset), bytes.subarray(pick(offset + 1), offset), bytes.subarray(offset));
    }
  }
  return bytes;
}

/** Put `bytes` between margins of `filler`. */
function surrounded(bytes: Uint8Array, filler: number): Uint8Array {
  const all = new Uint8Array(bytes.length + 2 * MARGIN_BYTES).fill(filler);
  all.set(bytes, MARGIN_BYTES);
  return all;
}

function batch26(room: string, epoch: number, firstOffset: number): Uint8Array {
  const roomUtf8 = encodeUtf8(room);
  const bytes = concat(
    new Uint8Array(batch26HeaderBytes(roomUtf8.length)),
    hex('0000000000000001'),
    encodePacket(1000, 0, 1, encodeUtf8('one')),
    hex('8000000000000002'),
    encodePacket(1001, 0, 1, encodeUtf8('two')),
  );
  writeBatch26Header(new DataView(bytes.buffer), bytes, 0, bytes.length, roomUtf8, epoch, firstOffset);
  return bytes;
}

function batch9(): Uint8Array {
  const bytes = concat(new Uint8Array(16), encodePacket(1000, 0, 1, encodeUtf8('one')), encodePacket(1001, 0, 1));
  writeBatchHeader(new DataView(bytes.buffer), 0, bytes.length);
  return bytes;
}

const TRAFFIC: readonly Uint8Array[] = [
  ...GOLDEN_PACKETS.map((golden) => hex(golden.bytes)),
  hex(GOLDEN_PACKETS.map((golden) => golden.bytes).join('')),
  batch9(),
  batch26('live://1', 7, 1000),
  batch26('', 0, 0),
  batch26('', 9, 3),
];

/** Read one input with everything that reads packets; what was found, as text. */
function readAll(all: Uint8Array, header: PacketHeader, cursor: PacketCursor, cursor26: Batch26Cursor): string {
  const endOffset = all.length - MARGIN_BYTES;
  const maxSteps = Math.ceil((endOffset - MARGIN_BYTES) / 16) + 1;
  let found = '';
  const note = (packet: PacketHeader): void => {
    if (packet.bodyOffset < MARGIN_BYTES + 16 || packet.bodyOffset + packet.bodyBytes > endOffset) {
      throw new Error(`body outside the input: bodyOffset=${packet.bodyOffset} bodyBytes=${packet.bodyBytes}`);
    }
    found += ` ${packet.op}/${packet.seq}/${packet.ver}/${packet.bodyOffset}+${packet.bodyBytes}`;
  };
  const step = (steps: number): void => {
    if (steps > maxSteps) throw new Error(`more packets than fit: steps=${steps}`);
  };
  for (const framing of [FRAMING.STREAM, FRAMING.MESSAGE, FRAMING.BATCH]) {
    let offset = MARGIN_BYTES;
    let outcome = readPacket(all, offset, endOffset, header, 4096, framing);
    for (let steps = 1; outcome === PARSE.OK; steps++) {
      step(steps);
      note(header);
      offset += header.packetBytes;
      outcome = readPacket(all, offset, endOffset, header, 4096, framing);
    }
    found += ` =${outcome}`;
  }
  for (const bodyOffset of [MARGIN_BYTES, Math.min(MARGIN_BYTES + 16, endOffset)]) {
    cursor.reset(all, bodyOffset, endOffset);
    for (let steps = 1; cursor.next(); steps++) {
      step(steps);
      note(cursor.header);
    }
    cursor26.open(all, bodyOffset, endOffset);
    for (let steps = 1; cursor26.next(); steps++) {
      step(steps);
      note(cursor26.header);
      found += `@${cursor26.idHi}.${cursor26.idLo}.${cursor26.messageOffset}`;
    }
    found += ` =${cursor.outcome}${cursor26.outcome}`;
  }
  return found;
}

/** The stream decoder, fed in two chunks: packets and outcome must not depend on where the cut is. */
function readStream(bytes: Uint8Array, cut: number): string {
  const stream = new PacketStream(() => 4096);
  let found = '';
  for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
    stream.feed(chunk);
    let outcome = stream.next();
    for (; outcome === PARSE.OK; outcome = stream.next()) {
      const { op, seq, ver, bodyOffset, bodyBytes } = stream.header;
      found += ` ${op}/${seq}/${ver}/${toHex(stream.bytes.subarray(bodyOffset, bodyOffset + bodyBytes))}`;
    }
    if (outcome !== PARSE.NEED_MORE) return `${found} =${outcome}`;
  }
  return `${found} +${stream.keptBytes}`;
}

describe('mutated traffic', () => {
  it(`is read by every packet reader without a throw, a read outside or an endless loop (${WIRE_ROUNDS} mutations)`, () => {
    const random = seededRandom(SEED);
    const header = new PacketHeader();
    const cursor = new PacketCursor();
    const cursor26 = new Batch26Cursor();
    let acceptedCount = 0;
    for (let round = 0; round < WIRE_ROUNDS; round++) {
      const bytes = mutate(TRAFFIC[round % TRAFFIC.length]!, random);
      const replay = () => `seed=${SEED} round=${round} bytes=${toHex(bytes)}`;
      try {
        const zeros = readAll(surrounded(bytes, 0x00), header, cursor, cursor26);
        const ones = readAll(surrounded(bytes, 0xff), header, cursor, cursor26);
        if (zeros !== ones) throw new Error(`surroundings were read: ${zeros} | ${ones}`);
        const whole = readStream(bytes, bytes.length);
        const split = readStream(bytes, Math.floor(random() * (bytes.length + 1)));
        if (whole !== split) throw new Error(`the cut mattered: ${whole} | ${split}`);
        if (decodeBatch(bytes).ok) acceptedCount++;
        if (decodeBatch26(bytes.subarray(Math.min(16, bytes.length))).ok) acceptedCount++;
      } catch (error) {
        throw new Error(replay(), { cause: error });
      }
    }
    // Both ways must have been gone: a fuzzer that only ever sees refusals tests nothing behind them.
    expect(acceptedCount).toBeGreaterThan(WIRE_ROUNDS / 100);
    expect(acceptedCount).toBeLessThan(WIRE_ROUNDS);
  });

  const jsonBodies = [
    '{"mid":123,"key":"k","room_id":"live://1000","platform":"web","accepts":[1000,1001],"halley":1,"rooms":["a"]}',
    '1000,1001,-5',
    '{"room":"live://1","op":1000,"body":"hi"}',
    '[{"all":true,"op":1000,"body_base64":"AAEC","speed":10},{"mids":[1,2],"op":3,"body":""}]',
    '{"code":3000,"reason":"x","reconnect":true,"retry_after_ms":1,"nodes":["a"]}',
    '["a","b"]',
    '[{"room":"a","epoch":1,"offset":2,"error":{"code":1,"message":"m","temporary":true}}]',
    '{"scope":"room","room":"r","epoch":1,"to":2}',
    '{"method":"send","params":{"a":[1,2,{"b":null}]}}',
    '{"error":{"code":1,"message":"m","temporary":true}}',
    '{"event":"message","data":{}}',
    '{"timeline":"t","to":5}',
  ];
  const bodies = [
    ...jsonBodies.map(encodeUtf8),
    ...jsonBodies.filter((text) => text[0] !== '1').map((text) => encodeBody('msgpack', JSON.parse(text))),
    encodeBody('msgpack', { all: true, op: 1, body: hex('00ff00ff') }),
    concat(batch26('r', 1, 2), batch26('r', 1, 4)),
  ];
  const decoders: ((bytes: Uint8Array) => Decoded<unknown>)[] = [
    parseAuthBody,
    parseOpList,
    parsePushCommand,
    parsePushCommands,
    ...CODECS.flatMap((codec) =>
      [
        decodeBody,
        decodeDisconnect,
        decodeRoomList,
        decodeRoomReplies,
        decodeGap,
        decodeRecover,
        decodeRecoverReply,
        decodeImRequest,
        decodeImResponse,
        decodeImEvent,
        decodeImNotify,
      ].map((decode) => (bytes: Uint8Array) => decode(codec, bytes)),
    ),
  ];

  it(`is decoded by every body decoder to a value or a sentence, never a throw (${BODY_ROUNDS} mutations)`, () => {
    const random = seededRandom(SEED + 1);
    let acceptedCount = 0;
    for (let round = 0; round < BODY_ROUNDS; round++) {
      const bytes = mutate(bodies[round % bodies.length]!, random);
      try {
        for (const decode of decoders) {
          const result = decode(bytes);
          if (result.ok) acceptedCount++;
          else if (result.error === '' || result.error.length > 400) throw new Error(`no sentence: ${result.error}`);
        }
        // The surroundings of the view must not matter either.
        const around = surrounded(bytes, 0xa1).subarray(MARGIN_BYTES, MARGIN_BYTES + bytes.length);
        for (const codec of CODECS) expect(decodeBody(codec, around)).toEqual(decodeBody(codec, bytes));
      } catch (error) {
        throw new Error(`seed=${SEED + 1} round=${round} bytes=${toHex(bytes)}`, { cause: error });
      }
    }
    expect(acceptedCount).toBeGreaterThan(BODY_ROUNDS / 10);
  });
});
