import { describe, expect, test } from 'vitest';
import { parseRuleTemplate } from './rule-template.js';

describe('a rule template', () => {
  test('is text and fields at fixed places', () => {
    expect(parseRuleTemplate('A-{tag}:{date:yyyy-MM}/{seq:3}{mod97}', 'X_1')).toEqual({
      skeleton: 'A-X_1:0000-00/00000',
      dates: [
        { token: 'yyyy', offset: 6, length: 4 },
        { token: 'MM', offset: 11, length: 2 },
      ],
      sequence: { offset: 14, length: 3 },
      check: { kind: 'mod97', offset: 17, length: 2 },
      period: 'month',
    });
  });

  test.each([
    ['{date:yy}{seq:3}', 'year'],
    ['{date:ddMMyyyy}{seq:3}', 'day'],
    ['{date:ss:mm:HH-dd.MM.yy}{seq:3}', 'day'],
    ['{seq:3}', 'never'],
  ])('%s begins its sequence anew each %s', (template, period) => {
    expect(parseRuleTemplate(template, '').period).toBe(period);
  });

  test.each([
    ['A B{seq:1}', 2, /A-Z a-z 0-9/],
    ['A{seq:1', 2, /ends in }/],
    ['A}{seq:1}', 2, /A-Z a-z 0-9/],
    ['{sequence}', 1, /the fields are/],
    ['{}', 1, /the fields are/],
    ['ABC', 4, /one {seq:N}/],
    ['', 1, /one {seq:N}/],
    ['{seq:1}{seq:1}', 8, /one {seq:N}/],
    ['{seq:0}', 6, /1 to 15/],
    ['{seq:16}', 6, /1 to 15/],
    ['{seq}', 5, /1 to 15/],
    ['{seq: 4}', 6, /1 to 15/],
    ['{date:yyyyMMDD}{seq:1}', 13, /a date is of/],
    ['{date:yyyyMMyy}{seq:1}', 13, /shows a year once/],
    ['{date:yyyydd}{seq:1}', 7, /with dd shows MM too/],
    ['{date:MMdd}{seq:1}', 7, /with dd shows a year too/],
    ['{date:yyyyMMddmm}{seq:1}', 7, /with mm shows HH too/],
    ['{date:}{seq:1}', 7, /at least its year/],
    ['{date:yyyy}{date:MM}{seq:1}', 12, /one {date:FORMAT}/],
    ['{tag}{seq:1}', 1, /the generator none/],
    ['{luhn:2}{seq:1}', 6, /takes no argument/],
    ['{seq:1}{luhn}A', 14, /nothing follows/],
    ['{seq:1}{luhn}{mod97}', 14, /nothing follows/],
    ['12B{seq:1}{luhn}', 3, /digits only: use {mod97}/],
    ['ORd{seq:1}{mod97}', 3, /capital letters only/],
    [`${'A'.repeat(64)}{seq:1}`, 1, /at most 64 characters/],
  ])('%s is refused at position %i', (template, position, problem) => {
    expect(() => parseRuleTemplate(template, '')).toThrow(
      expect.objectContaining({
        code: 'ID_BAD_TEMPLATE',
        details: expect.objectContaining({ position }),
        message: expect.stringMatching(problem),
      }),
    );
  });

  test('refuses tags that it does not use, that it cannot print, and that its check digits do not cover', () => {
    expect(() => parseRuleTemplate('{seq:1}', 'EU')).toThrow(/no {tag}/);
    expect(() => parseRuleTemplate('{tag}{seq:1}', 'E U')).toThrow(/position=2/);
    expect(() => parseRuleTemplate('A{tag}{seq:1}{mod97}', 'eu')).toThrow(/position=2/);
  });
});
