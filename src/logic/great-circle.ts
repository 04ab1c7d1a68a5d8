/**
 * great-circle: how far two places on Earth are from each other, along its surface.
 *
 * Source: the haversine formula, which keeps its precision for places close to each other. The sphere of mean radius is off
 * by up to 0.5 % against the ellipsoid, which no choice of a node depends on.
 */

/** Degrees: latitude -90 to 90, longitude -180 to 180. */
export interface GeoPoint {
  readonly latitude: number;
  readonly longitude: number;
}

export const MAX_LATITUDE = 90;
export const MAX_LONGITUDE = 180;

const EARTH_RADIUS_KM = 6371.0088;
const RADIANS = Math.PI / 180;

export function greatCircleKm(a: GeoPoint, b: GeoPoint): number {
  const sinLatitude = Math.sin(((b.latitude - a.latitude) * RADIANS) / 2);
  const sinLongitude = Math.sin(((b.longitude - a.longitude) * RADIANS) / 2);
  const chord =
    sinLatitude * sinLatitude +
    Math.cos(a.latitude * RADIANS) * Math.cos(b.latitude * RADIANS) * sinLongitude * sinLongitude;
  // Rounding may leave antipodes a hair above 1, where asin has no value.
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}

const DECIMAL = /^[+-]?\d{1,3}(\.\d{1,15})?$/;

/** Degrees of -max to max as a person writes them: decimal, no exponent. undefined: it is none. */
export function parseDegrees(text: string, max: number): number | undefined {
  if (!DECIMAL.test(text)) return undefined;
  const degrees = Number(text);
  return Math.abs(degrees) <= max ? degrees : undefined;
}
