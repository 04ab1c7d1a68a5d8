/**
 * Which web pages may connect: `limits.allowed_origins`.
 */

/**
 * True where a page of this origin may connect. Browsers send the header, other clients need not.
 * @param origin value of the Origin header, '' where there is none: not a page, allowed
 * @param allowed origins in full (`https://chat.example.com`), or with `*.` for all names below one
 *   (`https://*.example.com`, or `*.example.com` for any scheme and port); empty: everyone
 */
export function originAllowed(origin: string, allowed: readonly string[]): boolean {
  if (origin === '' || allowed.length === 0) return true;
  const text = origin.toLowerCase();
  return allowed.some((pattern) => matches(text, pattern.toLowerCase()));
}

function matches(origin: string, pattern: string): boolean {
  const star = pattern.indexOf('*.');
  if (star < 0) return origin === pattern || origin === pattern.replace(/\/$/, '');
  const scheme = pattern.slice(0, star);
  const tail = pattern.slice(star + 1);
  if (scheme !== '') return origin.startsWith(scheme) && isBelow(origin.slice(scheme.length), tail);
  const authority = origin.slice(origin.indexOf('://') + 3);
  return isBelow(authority.replace(/:\d+$/, ''), tail);
}

/** @param tail begins with a dot */
function isBelow(host: string, tail: string): boolean {
  return host.length > tail.length && host.endsWith(tail) && !host.includes('/') && !host.includes('@');
}
