import { describe, expect, it } from 'vitest';
import { allowAnyRoom, RoomRuleCache } from './room-rule.js';

describe('RoomRuleCache', () => {
  it('shares one rule per claim and keeps a bounded number of them', () => {
    const cache = new RoomRuleCache();
    const first = cache.ruleFor(['live://0']);
    expect(cache.ruleFor(['live://0'])).toBe(first);
    expect(cache.ruleFor(undefined)).toBe(allowAnyRoom);
    for (let index = 1; index <= 1024; index++) cache.ruleFor([`live://${index}`]);
    // The oldest went; its channels keep a rule that still answers.
    expect(cache.ruleFor(['live://0'])).not.toBe(first);
    expect([first('live://0'), first('live://1')]).toEqual([true, false]);
    expect(cache.ruleFor(['live://1024'])).toBe(cache.ruleFor(['live://1024']));
  });

  it('does not confuse claims whose joined texts are alike', () => {
    const cache = new RoomRuleCache();
    expect(cache.ruleFor(['a', 'b'])('a","b')).toBe(false);
    expect(cache.ruleFor(['a","b'])('a","b')).toBe(true);
    expect(cache.ruleFor(['a","b'])('a')).toBe(false);
  });
});
