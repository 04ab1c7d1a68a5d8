import { describe, expect, it } from 'vitest';
import { printable, textTable } from './text-table.js';

describe('textTable', () => {
  it('puts text left and columns of numbers right, without blanks at the end of a line', () => {
    expect(
      textTable(
        ['NODE', 'COUNT', 'REGION'],
        [
          ['a', 5, 'bj'],
          ['longer', 12_345_678, ''],
        ],
      ),
    ).toBe('NODE       COUNT  REGION\na              5  bj\nlonger  12345678  -\n');
  });

  it('keeps a column left where one cell is no number', () => {
    expect(textTable(['MID'], [[1], [''], [100]])).toBe('MID\n1\n-\n100\n');
  });

  it('is the header alone where there are no rows', () => {
    expect(textTable(['A', 'B'], [])).toBe('A  B\n');
  });

  it('shows what would move a cursor or begin a line, in either form of the escape', () => {
    const hostile = 'x\u001b[2J\n\r\u009b31m\u2028\u007f';
    expect(printable(hostile)).toBe('x\\u001b[2J\\u000a\\u000d\\u009b31m\\u2028\\u007f');
    expect(textTable(['KEY'], [[hostile]]).split('\n').length).toBe(3);
    expect(printable('ключ 🙂')).toBe('ключ 🙂');
  });
});
