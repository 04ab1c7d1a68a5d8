import { expect, it } from 'vitest';
import { closeReason } from './closing.js';

it('cuts a reason to what a close frame holds, between characters', () => {
  expect(closeReason('short')).toBe('short');
  expect(Buffer.byteLength(closeReason('é'.repeat(100)))).toBe(122);
});
