/**
 * The files of the first page, read once from dist/page/ into memory.
 */
import { readFile } from 'node:fs/promises';
import type { StaticPage } from '../logic/index.js';

const PAGE_FILES = [
  ['/', 'page.html', 'text/html; charset=utf-8'],
  ['/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/page.css', 'page.css', 'text/css; charset=utf-8'],
] as const;

export async function loadPages(): Promise<ReadonlyMap<string, StaticPage>> {
  const pages = new Map<string, StaticPage>();
  for (const [path, file, contentType] of PAGE_FILES) {
    pages.set(path, { contentType, body: await readFile(new URL(`../page/${file}`, import.meta.url)) });
  }
  return pages;
}
