/**
 * static-pages: files that the caller holds in memory (the demo and admin pages), served with a validator and a strict policy.
 */
import { createHash } from 'node:crypto';
import type { Reply } from './reply.js';

export interface StaticPage {
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Default of `connect-src`: this host's API, and WebSockets anywhere, since clients connect to the comets' own ports. */
export const DEFAULT_CONNECT_SOURCES = "'self' ws: wss:";

interface PreparedPage {
  readonly page: StaticPage;
  readonly etag: string;
}

export class StaticPages {
  readonly #pageByPath = new Map<string, PreparedPage>();
  readonly #policy: string;

  /**
   * @param pages by path, `/` or `/page.js`; bodies are kept, not copied
   * @param connectSources value of the policy's `connect-src`
   */
  constructor(pages: ReadonlyMap<string, StaticPage>, connectSources: string) {
    for (const [path, page] of pages) {
      const etag = `"${createHash('sha256').update(page.body).digest('base64url').slice(0, 22)}"`;
      this.#pageByPath.set(path, { page, etag });
    }
    this.#policy = [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      "font-src 'self'",
      `connect-src ${connectSources}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; ');
  }

  /** @param ifNoneMatch the header, or the empty text */
  find(path: string, ifNoneMatch: string): Reply | undefined {
    const prepared = this.#pageByPath.get(path);
    if (prepared === undefined) return undefined;
    const { page, etag } = prepared;
    const headers = [
      ['ETag', etag],
      ['Cache-Control', 'no-cache'],
      ['Content-Security-Policy', this.#policy],
      ['Referrer-Policy', 'no-referrer'],
    ] as const;
    const known = ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag) || ifNoneMatch === '*';
    return known
      ? { status: 304, contentType: '', body: '', headers }
      : { status: 200, contentType: page.contentType, body: page.body, headers };
  }
}
