/** Wait for `work`, at most `timeoutMs`. True: it has ended, well or not. False: it goes on, unattended; it must not reject then. */
export async function within(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    const ended = work.then(
      () => true,
      () => true,
    );
    return await Promise.race([ended, late]);
  } finally {
    clearTimeout(timer);
  }
}
