/**
 * This browser's device key: drawn once, remembered, and never used by two of its tabs at the same time, since a node lets the
 * newer connection of a key take over from the older one.
 */

const STORAGE_NAME = 'halley.key';
const MAX_TABS_COUNT = 32;

/** The remembered key; a second tab gets it with `-2` and so on, for as long as it is open. */
export async function claimDeviceKey(): Promise<string> {
  const remembered = rememberedKey();
  for (let tab = 1; tab <= MAX_TABS_COUNT; tab++) {
    const key = tab === 1 ? remembered : `${remembered}-${tab}`;
    if (await claim(key)) return key;
  }
  return drawKey();
}

function rememberedKey(): string {
  try {
    const known = localStorage.getItem(STORAGE_NAME);
    if (known !== null && known !== '') return known;
    const drawn = drawKey();
    localStorage.setItem(STORAGE_NAME, drawn);
    return drawn;
  } catch {
    // Storage may be forbidden; then the key lasts as long as the page.
    return drawKey();
  }
}

/** Not `randomUUID`: it exists on secure origins only, and a node on a local network is none. */
function drawKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** Hold `key` until the tab is closed. @returns false where another tab does; true too where locks do not exist */
async function claim(key: string): Promise<boolean> {
  const locks: LockManager | undefined = navigator.locks;
  if (locks === undefined) return true;
  return new Promise((resolve) => {
    const held = locks.request(`${STORAGE_NAME}:${key}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      // A lock is held as long as this promise is open: for ever.
      return lock === null ? undefined : new Promise<never>(() => {});
    });
    // A browser may refuse locks as it may refuse storage.
    held.catch(() => resolve(true));
  });
}
