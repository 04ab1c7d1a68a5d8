/**
 * redis-link-url: the URL of the `redis` option, taken apart.
 *
 *   redis://[user:pass@]host[:port][/db]             rediss://... the same over TLS
 *   redis+sentinel://[user:pass@]h1:p1,h2:p2/master  rediss+sentinel://...
 *   redis+cluster://[user:pass@]h1:p1,h2:p2          rediss+cluster://...
 *
 * Guarantees: no error shows a part of the login. What stands before a raw @ or / may be one, so a refused URL shows neither
 *   its hosts nor its path.
 */
import { HalleyError } from '../../errors/index.js';

/** What an URL says, taken apart. */
export interface RedisPlace {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly isTls: boolean;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly username: string;
  readonly password: string;
  /** Sentinel's name of the master; '' otherwise. */
  readonly masterName: string;
  readonly db: number;
}

const DEFAULT_PORT = { single: 6379, sentinel: 26_379, cluster: 6379 } as const;

function refuse(problem: string): never {
  throw new HalleyError('BAD_REDIS_URL', `redis ${problem}`, { option: 'redis' });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse('has a % that begins no %XX: percent-encode user name, password and name of the master');
  }
}

/** @throws HalleyError BAD_REDIS_URL */
export function parseRedisUrl(url: string): RedisPlace {
  const match = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([^?#]*))?$/.exec(url);
  if (match === null) {
    return refuse('must be redis://host:port/db, redis+sentinel://h1:p,h2:p/master or redis+cluster://h1:p,h2:p');
  }
  const [, scheme, form, login = '', hostList = '', path = ''] = match;
  if (hostList.includes('@') || path.includes('@')) {
    return refuse('has an @ behind its login: percent-encode @ and / in user name and password (%40, %2F)');
  }
  const kind = (form ?? 'single') as RedisPlace['kind'];
  const hosts = hostList.split(',').map((text, index) => {
    const host = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text);
    const port = Number(host?.[2] ?? DEFAULT_PORT[kind]);
    if (host === null || port < 1 || port > 65_535)
      return refuse(`must name hosts as host:port: host number ${index + 1}`);
    return { host: (host[1] as string).replace(/^\[|\]$/g, ''), port };
  });
  if (kind === 'single' && hosts.length > 1) refuse('names several hosts: say redis+sentinel:// or redis+cluster://');
  if (kind === 'sentinel' && path === '') {
    refuse('must end in the name of the master, as in redis+sentinel://h:p/mymaster');
  }
  if (kind === 'single' && !/^\d{0,4}$/.test(path)) refuse('must end in the number of a database');
  if (kind === 'cluster' && path !== '') refuse('must not name a database: Redis Cluster has only one');
  const colon = login.indexOf(':');
  return {
    kind,
    isTls: scheme === 'rediss',
    hosts,
    username: decoded(colon < 0 ? login : login.slice(0, colon)),
    password: colon < 0 ? '' : decoded(login.slice(colon + 1)),
    masterName: kind === 'sentinel' ? decoded(path) : '',
    db: kind === 'single' ? Number(path) : 0,
  };
}

/** `host:port,host:port`, for errors and logs. */
export function placeText({ hosts }: RedisPlace): string {
  return hosts.map(({ host, port }) => `${host}:${port}`).join(',');
}
