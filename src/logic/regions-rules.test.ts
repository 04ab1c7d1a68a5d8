import { describe, expect, it } from 'vitest';
import { HalleyError } from '../errors/index.js';
import { parseRegionFile, parseRegionList, parseRegionPlaces } from './regions-rules.js';

function failure(parse: () => unknown): HalleyError {
  try {
    parse();
  } catch (error) {
    if (error instanceof HalleyError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('the rules of a file', () => {
  it('stand one on a line, among comments, blanks and what an editor leaves', () => {
    const text =
      '\uFEFF# table of 2026\r\n10.0.0.0/8=bj\r\n\r\n   2001:db8::/32 = sh  \n#10.0.0.0/8=gz\n192.0.2.1=上海';
    expect(parseRegionFile(text, 'r.txt').map(({ value, line }) => [value, line])).toEqual([
      ['bj', 2],
      ['sh', 4],
      ['上海', 6],
    ]);
    expect(parseRegionFile('', 'r.txt')).toEqual([]);
  });

  it.each([
    ['10.0.0.0/8', 'must have the form "block=region"'],
    ['10.0.0.0/8=', 'the region must be a text of 1 to 64 bytes'],
    ['10.0.0.0/8=a=b', 'the region must be a text of 1 to 64 bytes'],
    [`10.0.0.0/8=${'x'.repeat(65)}`, 'the region must be a text of 1 to 64 bytes'],
    ['10.0.0.1/8=bj', 'zeros behind its 8 bits'],
    ['host.example.org=bj', 'must be an IPv4 or IPv6 address'],
    ['10.0.0.0/40=bj', 'a prefix length of 0 to 32'],
  ])('name the line of %j', (rule, problem) => {
    const error = failure(() => parseRegionFile(`# one\n10.0.0.0/8=bj\n${rule}\n`, 'r.txt'));
    expect([error.code, error.details['source'], error.details['line']]).toEqual(['REGION_RULE_INVALID', 'r.txt', 3]);
    expect(error.message).toContain(problem);
    expect(error.message.length).toBeLessThan(300);
  });
});

describe('the rules of an option', () => {
  it('are one an item, whose place an error names', () => {
    expect(parseRegionList(['10.0.0.0/8=bj', '::/0=sh'], 'balancer.regions').length).toBe(2);
    expect(failure(() => parseRegionList(['10.0.0.0/8=bj', 'x'], 'balancer.regions')).message).toContain(
      'source="balancer.regions" line=2 rule="x"',
    );
  });
});

describe('the places of regions', () => {
  it('are latitude and longitude, also where an env variable has split them at the comma', () => {
    const places = [
      ['bj', { latitude: 39.9, longitude: 116.4 }],
      ['rio', { latitude: -22.9, longitude: -43.2 }],
    ];
    const parsed = (items: string[]) => [...parseRegionPlaces(items, 'p')];
    expect(parsed(['bj=39.9,116.4', 'rio = -22.9 , -43.2'])).toEqual(places);
    expect(parsed(['bj=39.9', '116.4', 'rio=-22.9', '-43.2'])).toEqual(places);
    expect(parsed([])).toEqual([]);
  });

  it.each([
    [['116.4'], 1, 'must have the form "region=latitude,longitude"'],
    [['bj=39.9,116.4', 'sh=31.2'], 2, 'latitude and longitude in degrees'],
    [['bj=39.9,116.4,5'], 1, 'latitude and longitude in degrees'],
    [['bj=91,0'], 1, '-90 to 90'],
    [['bj=0,181'], 1, '-180 to 180'],
    [['=1,1'], 1, 'the region must be'],
    [['bj=1,1', 'bj=2,2'], 2, 'has a place already'],
  ])('%j is refused at item %i', (items, line, problem) => {
    const error = failure(() => parseRegionPlaces(items, 'p'));
    expect([error.code, error.details['line']]).toEqual(['REGION_RULE_INVALID', line]);
    expect(error.message).toContain(problem);
  });
});
