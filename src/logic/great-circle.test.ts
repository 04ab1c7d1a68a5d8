import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GeoPoint, greatCircleKm, parseDegrees } from './great-circle.js';

const PLACE = fc.record({
  latitude: fc.double({ min: -90, max: 90, noNaN: true }),
  longitude: fc.double({ min: -180, max: 180, noNaN: true }),
});

/** The angle between two places as the angle between their vectors: another way to the same distance. */
function byVectors(a: GeoPoint, b: GeoPoint): number {
  const vector = ({ latitude, longitude }: GeoPoint) => {
    const [phi, lambda] = [(latitude * Math.PI) / 180, (longitude * Math.PI) / 180];
    return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)] as const;
  };
  const [ax, ay, az] = vector(a);
  const [bx, by, bz] = vector(b);
  const cross = Math.hypot(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx);
  return 6371.0088 * Math.atan2(cross, ax * bx + ay * by + az * bz);
}

describe('the distance between two places', () => {
  it.each([
    ['Beijing and Shanghai', [39.9042, 116.4074], [31.2304, 121.4737], 1067],
    ['London and Paris', [51.5074, -0.1278], [48.8566, 2.3522], 344],
    ['the two sides of the date line', [0, 179.5], [0, -179.5], 111],
    ['the poles', [90, 0], [-90, 77], 20_015],
    ['one place and itself', [12.5, -70], [12.5, -70], 0],
  ] as const)('of %s is known', (_, [latitude, longitude], [otherLatitude, otherLongitude], km) => {
    const distanceKm = greatCircleKm({ latitude, longitude }, { latitude: otherLatitude, longitude: otherLongitude });
    expect(Math.round(distanceKm)).toBe(km);
  });

  it('is that of the vectors, both ways round', () => {
    fc.assert(
      fc.property(PLACE, PLACE, (a, b) => {
        // The haversine loses precision towards antipodes: some metres.
        expect(Math.abs(greatCircleKm(a, b) - byVectors(a, b))).toBeLessThan(0.01);
        expect(greatCircleKm(a, b)).toBeCloseTo(greatCircleKm(b, a), 6);
      }),
    );
  });
});

describe('degrees', () => {
  it('are decimal numbers inside their bound', () => {
    expect(['39.9042', '-90', '+90', '0', '-0.5'].map((text) => parseDegrees(text, 90))).toEqual([
      39.9042, -90, 90, 0, -0.5,
    ]);
  });

  it.each(['', ' 1', '1 ', '90.001', '-91', '1e1', '0x1', 'NaN', 'Infinity', '.5', '5.', '39,9', '1234'])(
    'are not %j',
    (text) => {
      expect(parseDegrees(text, 90)).toBeUndefined();
    },
  );
});
