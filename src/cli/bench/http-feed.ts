/**
 * Publishes a feed through goim's HTTP API, from a process of its own.
 */
import { fork } from 'node:child_process';
import type { HttpFeed } from './http-publisher.main.js';
import type { FeedReport } from './wire/feed.js';

/** Resolves when the feed is over. @param entry the compiled http-publisher.main */
export function feedThroughHttp(entry: URL, httpFeed: HttpFeed): Promise<FeedReport> {
  const child = fork(entry, [], { execArgv: [] });
  return new Promise((resolve, reject) => {
    child.once('message', (report) => resolve(report as FeedReport));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the publisher ended without a report: exit=${code}`)));
    child.send(httpFeed);
  });
}
