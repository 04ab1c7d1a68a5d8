import { expect, test } from 'vitest';
import { statusText } from './status-text.js';

test('the status line says where the connection stands', () => {
  expect(statusText({ phase: 'idle' })).toBe('Not connected');
  expect(statusText({ phase: 'connecting', url: 'ws://a/sub' })).toBe('Connecting to ws://a/sub');
  expect(statusText({ phase: 'online', sinceMs: 0 })).toMatch(/^Online since \d\d:\d\d:\d\d$/);
  expect(statusText({ phase: 'waiting', end: { code: 1006, reason: '' }, delayMs: 1234, attemptCount: 3 })).toBe(
    'Closed 1006 connection lost. Reconnecting in 1.2 s (attempt 3)',
  );
});

test('a close without a reason gets the meaning of its code, where the registry has one', () => {
  expect(statusText({ phase: 'closed', end: { code: 3500, reason: '' } })).toBe(
    'Closed 3500 taken over. Not reconnecting',
  );
  expect(statusText({ phase: 'closed', end: { code: 4321, reason: '' } })).toBe('Closed 4321. Not reconnecting');
});
