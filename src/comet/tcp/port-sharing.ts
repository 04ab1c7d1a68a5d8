/**
 * Which buckets open the TCP port. Node listens with SO_REUSEPORT from 22.12 on, and the kernel then spreads the clients
 * over the buckets as it does on the WebSocket's port. An older one cannot, so a single bucket owns the listener.
 *
 * Threads: any.
 */

/** First release with `reusePort` in `net.Server.listen()`; 23.0, which came before it, is without. */
const FIRST_MAJOR = 22;
const FIRST_MINOR = 12;
const WITHOUT = '23.0';
/** Where SO_REUSEPORT spreads connections: elsewhere libuv refuses it. */
const PLATFORMS: ReadonlySet<string> = new Set(['linux', 'freebsd']);
/** Thread of the bucket that listens alone. Its successor after a crash has the same number. */
export const LONE_TCP_THREAD = 1;

/** @param nodeVersion `process.versions.node`; @param platform `process.platform` */
export function sharesTcpPort(nodeVersion: string, platform: string): boolean {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  if (!PLATFORMS.has(platform) || `${major}.${minor}` === WITHOUT) return false;
  return major > FIRST_MAJOR || (major === FIRST_MAJOR && minor >= FIRST_MINOR);
}

/** Does the bucket of this thread open the port? */
export function opensTcpPort(thread: number, isShared: boolean): boolean {
  return isShared || thread === LONE_TCP_THREAD;
}
