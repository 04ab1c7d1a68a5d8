import { describe, expect, it } from 'vitest';
import { LONE_TCP_THREAD, opensTcpPort, sharesTcpPort } from './port-sharing.js';

describe('the TCP port', () => {
  it.each([
    ['20.20.2', false],
    ['22.11.9', false],
    ['22.12.0', true],
    ['22.20.1', true],
    ['23.0.1', false],
    ['23.1.0', true],
    ['24.0.0', true],
    ['26.1.0-nightly2026', true],
  ])('is shared by all buckets on Node %s: %s', (version, isShared) => {
    expect(sharesTcpPort(version, 'linux')).toBe(isShared);
  });

  it('is never shared where the system cannot spread connections', () => {
    expect(['darwin', 'win32', 'freebsd'].map((platform) => sharesTcpPort('24.0.0', platform))).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('is opened by every bucket where it is shared, and by the first one, restarted or not, where it is not', () => {
    expect(LONE_TCP_THREAD).toBe(1);
    expect([1, 2, 31].map((thread) => opensTcpPort(thread, true))).toEqual([true, true, true]);
    expect([1, 2, 31].map((thread) => opensTcpPort(thread, false))).toEqual([true, false, false]);
  });
});
