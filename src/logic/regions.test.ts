import { describe, expect, it } from 'vitest';
import { Regions } from './regions.js';
import { parseRegionList, parseRegionPlaces } from './regions-rules.js';

const REGIONS = new Regions(
  parseRegionList(['203.0.113.0/24=bj', '203.0.113.128/25=sh', '2001:db8::/32=gz'], 'test'),
  parseRegionPlaces(['bj=39.9,116.4', 'sh=31.2,121.5', 'fiji=-18,178'], 'test'),
);

describe('the region of a client', () => {
  it('is that of its address', () => {
    const addresses = ['203.0.113.5', '203.0.113.200', '::ffff:203.0.113.5', '2001:db8::7', '192.0.2.1', '', 'x'];
    expect(addresses.map((address) => REGIONS.ofAddress(address))).toEqual(['bj', 'sh', 'bj', 'gz', '', '', '']);
  });

  it('is the one that lies nearest to its place, across the date line too', () => {
    expect(REGIONS.ofPlace({ latitude: 38, longitude: 115 })).toBe('bj');
    expect(REGIONS.ofPlace({ latitude: 30, longitude: 120 })).toBe('sh');
    expect(REGIONS.ofPlace({ latitude: -18, longitude: -179 })).toBe('fiji');
    expect(new Regions([], new Map()).ofPlace({ latitude: 0, longitude: 0 })).toBe('');
  });

  it('has a place where one is configured', () => {
    expect(REGIONS.placeOf('sh')).toEqual({ latitude: 31.2, longitude: 121.5 });
    expect(REGIONS.placeOf('gz')).toBeUndefined();
  });
});
