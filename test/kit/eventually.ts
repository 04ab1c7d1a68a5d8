/** Poll `find` until it gives something other than undefined or false. Throws what it throws, or names what was awaited. */
export async function eventually<T>(
  find: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 10_000,
  what = 'condition',
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
