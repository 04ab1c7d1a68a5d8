import { describe, expect, it } from 'vitest';
import { CODECS, encodeBody } from './codec.js';
import {
  decodeImEvent,
  decodeImNotify,
  decodeImRequest,
  decodeImResponse,
  encodeImEvent,
  encodeImNotify,
  encodeImRequest,
  encodeImResponse,
  IM_EVENTS,
} from './im-envelope.js';

describe.each(CODECS)('IM envelopes in %s', (codec) => {
  it('come back as they were encoded', () => {
    for (const request of [{ method: 'sync' }, { method: 'send', params: { to: 7, text: 'hi', list: [1, null] } }]) {
      expect(decodeImRequest(codec, encodeImRequest(codec, request))).toEqual({ ok: true, value: request });
    }
    for (const response of [
      { ok: true as const, result: { seq: 9 } },
      { ok: true as const, result: 0 },
      { ok: true as const, result: undefined },
      { ok: false as const, error: { code: 500, message: 'later', temporary: true } },
    ]) {
      expect(decodeImResponse(codec, encodeImResponse(codec, response))).toEqual({ ok: true, value: response });
    }
    for (const event of IM_EVENTS) {
      expect(decodeImEvent(codec, encodeImEvent(codec, { event, data: [event] }))).toEqual({
        ok: true,
        value: { event, data: [event] },
      });
    }
    const notify = { timeline: 'group:5', to: Number.MAX_SAFE_INTEGER };
    expect(decodeImNotify(codec, encodeImNotify(codec, notify))).toEqual({ ok: true, value: notify });
  });

  it('are refused with the name of the member that is wrong', () => {
    const errors = [
      decodeImRequest(codec, encodeBody(codec, { params: {} })),
      decodeImRequest(codec, encodeBody(codec, { method: '' })),
      decodeImRequest(codec, encodeBody(codec, { method: 'm'.repeat(65) })),
      decodeImRequest(codec, encodeBody(codec, 'send')),
      decodeImRequest(codec, encodeImRequest(codec, { method: 'send', params: 'x'.repeat(100) }), 50),
      decodeImResponse(codec, encodeBody(codec, { result: 1, error: { code: 1, message: '' } })),
      decodeImResponse(codec, encodeBody(codec, { error: 'no' })),
      decodeImEvent(codec, encodeBody(codec, { event: 'typing' })),
      decodeImNotify(codec, encodeBody(codec, { timeline: 'a', to: -1 })),
      decodeImNotify(codec, encodeBody(codec, { to: 1 })),
    ].map((result) => (result.ok ? 'accepted' : result.error));
    const patterns = [
      /^method must be a string of at most 64 characters: method=nothing$/,
      /^method must be a non-empty string: method=""$/,
      /^method must be a string of at most 64/,
      /^the body must be an object: body="send"$/,
      /^a body must be at most 50 bytes: bytes=/,
      /^a response must have result or error, not both$/,
      /^error must be an object: error="no"$/,
      /^event must be one of message, receipt, recall, presence, conversation: event="typing"$/,
      /^to must be an integer from 0 to 9007199254740991: to=-1$/,
      /^timeline must be a non-empty string: timeline=nothing$/,
    ];
    for (const [index, error] of errors.entries()) expect(error).toMatch(patterns[index]!);
  });
});
