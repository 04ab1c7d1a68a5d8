import { describe, expect, it } from 'vitest';
import { checkConfig } from './check-config.js';
import { HistoryRules, historyRulesProblem } from './history-rules.js';
import { loadConfig } from './load-config.js';

describe('the rules of history.rooms', () => {
  it('say by the room type how much is kept, * for every type without a rule', () => {
    const rules = new HistoryRules(['live:200:300', '*:50:60']);
    expect(rules.of('live://1')).toEqual({ type: 'live', maxMessages: 200, maxAgeS: 300 });
    for (const room of ['chat://1', 'liv://1', 'no type', '://x']) expect(rules.of(room)?.maxMessages).toBe(50);
  });

  it('leave every room without a rule without history', () => {
    const rules = new HistoryRules(['live:200:300']);
    expect(['live://1', 'live', 'lively://1', 'xlive://1', ''].map((room) => rules.hasHistory(room))).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
    expect([rules.isEmpty, new HistoryRules([]).isEmpty, new HistoryRules(['*:1:1']).isEmpty]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it.each([
    ['live', 'must be type:maxMessages:maxAgeS'],
    ['live:1', 'must be type:maxMessages:maxAgeS'],
    ['live:1:1:1', 'must be type:maxMessages:maxAgeS'],
    [':1:1', 'must be type:maxMessages:maxAgeS'],
    ['live:x:1', 'must be type:maxMessages:maxAgeS'],
    ['live:-1:1', 'must be type:maxMessages:maxAgeS'],
    ['live://1:1:1', 'must be type:maxMessages:maxAgeS'],
    ['a/b:1:1', 'must not hold a slash'],
    ['live:0:300', 'must keep 1 to 10000 messages'],
    ['live:10001:300', 'must keep 1 to 10000 messages'],
    ['live:200:0', 'must keep messages for 1 to 604800 seconds'],
    ['live:200:604801', 'must keep messages for 1 to 604800 seconds'],
  ])('refuse %s, naming it', (rule, sentence) => {
    const problem = historyRulesProblem(['good:1:1', rule]);
    expect(problem).toContain(sentence);
    expect(problem).toMatch(/: rule=.+$/);
    expect(problem).toContain(`rule=${rule}`);
    expect(() => new HistoryRules([rule])).toThrow(expect.objectContaining({ code: 'BAD_HISTORY_RULE' }));
  });

  it('refuse two rules for one type', () => {
    expect(historyRulesProblem(['live:1:1', 'live:2:2'])).toContain('one rule per room type: rule=live:2:2');
  });

  it('are checked with the configuration, as is a recovery that no record could carry', () => {
    const { config } = loadConfig({ argvFlags: {}, env: {}, readFile: () => '' });
    expect(checkConfig(config)).toEqual([]);
    const withHistory = (rooms: readonly string[], recoverMaxBytes: number) =>
      checkConfig({ ...config, history: { ...config.history, rooms, recover_max_bytes: recoverMaxBytes } });
    const tooLargeBytes = 8 * 1024 * 1024;
    expect(withHistory(['live:0:1'], tooLargeBytes).map(({ path }) => path)).toEqual([
      'history.rooms',
      'history.recover_max_bytes',
    ]);
    // Without such rooms nobody recovers: a small ring needs no further option.
    expect(withHistory([], tooLargeBytes)).toEqual([]);
  });
});
