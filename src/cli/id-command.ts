/**
 * `halley id next|decode|grow|serve`: ids from a server or straight from a store, ids taken apart, masters set up and grown
 * (id-grow.ts), and an id server without a comet.
 *
 * Threads: main thread.
 * Guarantees: never exits the process. `next` on a store takes as many numbers as it prints, nothing ahead.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Config, flagRows, helpLines, loadConfig } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import type { RangeSource, SegmentGrant, SegmentStore } from '../id/index.js';
import { IdDecoder, IdService } from '../logic/index.js';
import { FileSegmentStore } from '../store/index.js';
import { RedisIdSegmentStore, RedisIncrSource } from '../store/redis/index.js';
import { pinoLogger } from '../telemetry/index.js';
import { GROW_HELP, growOffsetMasters } from './id-grow.js';
import { IdServer } from './id-server.js';
import { idDirectoryOf, idOptionsOf, openIdLink } from './ids-wiring.js';
import { EXIT, type StartIo } from './start-command.js';

const MAX_COUNT = 100_000;
const REQUEST_TIMEOUT_MS = 15_000;
const OWN_FLAGS = {
  scheme: { type: 'string' },
  biz: { type: 'string' },
  count: { type: 'string', default: '1' },
  url: { type: 'string' },
  master: { type: 'string', multiple: true, default: [] as string[] },
  margin: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Run one `id` command. @param argv what follows `halley id` @returns the exit code */
export async function runIdCommand(argv: readonly string[], env: NodeJS.ProcessEnv, io: StartIo): Promise<number> {
  let parsed: ParsedArgs;
  try {
    parsed = parse(argv);
  } catch (error) {
    io.err(error instanceof Error ? error.message : String(error));
    io.err(usage());
    return EXIT.USAGE;
  }
  const { own, configFlags, words } = parsed;
  const [command = '', id = ''] = words;
  const wantedWords = command === 'decode' ? 2 : 1;
  if (own.help || !['next', 'decode', 'grow', 'serve'].includes(command) || words.length !== wantedWords) {
    (own.help ? io.out : io.err)(own.help && command === 'grow' ? GROW_HELP : usage());
    return own.help ? EXIT.OK : EXIT.USAGE;
  }
  try {
    const { config } = loadConfig({ argvFlags: configFlags, env, readFile: (path) => readFileSync(path, 'utf8') });
    if (command === 'serve') return await serve(config, io);
    if (command === 'grow') {
      for (const line of await growOffsetMasters(own, config)) io.out(line);
      return EXIT.OK;
    }
    const lines = command === 'next' ? await next(own, config) : await decode(id, own, config);
    for (const line of lines) io.out(line);
    const missingCount = command === 'next' ? Number(own.count) - lines.length : 0;
    if (missingCount === 0) return EXIT.OK;
    io.err(`halley: the tag's ids have ended: missingCount=${missingCount}`);
    return EXIT.FAILED;
  } catch (error) {
    io.err(error instanceof HalleyError ? `halley: ${error.message} [${error.code}]` : `halley: ${String(error)}`);
    if (error instanceof Error && error.cause instanceof Error) io.err(`  caused by: ${error.cause.message}`);
    return EXIT.FAILED;
  }
}

interface OwnFlags {
  readonly scheme?: string | undefined;
  readonly biz?: string | undefined;
  readonly count: string;
  readonly url?: string | undefined;
  readonly master: readonly string[];
  readonly margin?: string | undefined;
  readonly help: boolean;
}

interface ParsedArgs {
  readonly own: OwnFlags;
  readonly configFlags: Readonly<Record<string, string>>;
  readonly words: readonly string[];
}

function parse(argv: readonly string[]): ParsedArgs {
  const configOptions = Object.fromEntries(flagRows().map(({ name }) => [name, { type: 'string' as const }]));
  const options = { ...configOptions, ...OWN_FLAGS };
  const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
  const configFlags: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    if (!(name in OWN_FLAGS) && typeof value === 'string') configFlags[name] = value;
  }
  // Every own flag is described in OWN_FLAGS, which is what parseArgs was given.
  return { own: values as unknown as OwnFlags, configFlags, words: positionals };
}

function usage(): string {
  return [
    'Usage: halley id next [--scheme segment] [--biz TAG] [--count 1] [--url http://HOST:PORT]',
    '       halley id decode ID [--scheme SCHEME] [--biz TAG] [--url http://HOST:PORT]',
    '       halley id grow --biz TAG --master STORE --master STORE ...',
    '       halley id serve',
    '  next    ids of a server (--url; its token from HALLEY_HTTP_TOKEN), or straight from --redis or --data-dir',
    '  decode  what an id tells of itself; without --scheme as every scheme that could have made it',
    '  grow    set up the masters of scheme offset, or raise their number; `halley id grow --help` says how',
    '  serve   an id server by HTTP (--http-port) and gRPC (HALLEY_IDS_GRPC_PORT), without a comet',
    'Flags:',
    ...helpLines(),
  ].join('\n');
}

async function next(
  { scheme = 'segment', biz = '', count: countText, url }: OwnFlags,
  config: Config,
): Promise<string[]> {
  const count = /^\d{1,9}$/.test(countText) ? Number(countText) : Number.NaN;
  if (url !== undefined) {
    const data = await ask(url, '/ids', { scheme, biz, count: countText }, config.http.token);
    return [...(data as { readonly ids: readonly string[] }).ids];
  }
  const log = pinoLogger({ level: 'silent' });
  const link = config.redis === '' ? undefined : await openIdLink(config, 'halley-id-next', log);
  try {
    const store = link
      ? new RedisIdSegmentStore(link)
      : await FileSegmentStore.open({ directory: idDirectoryOf(config) });
    const incrSource = link && ((tag: string) => new OnceSource(new RedisIncrSource({ link, tag })));
    const isCount = Number.isInteger(count) && count >= 1 && count <= MAX_COUNT;
    const options = { ...idOptionsOf(config, false), maxCount: MAX_COUNT, stepCount: isCount ? count : 1 };
    const service = await IdService.open(options, { store: new OnceStore(store), incrSource, log });
    try {
      return [...(await service.next({ scheme, biz, count })).ids];
    } finally {
      await service.close();
      await store.close();
    }
  } finally {
    link?.close();
  }
}

async function decode(id: string, { scheme, biz, url }: OwnFlags, config: Config): Promise<string[]> {
  let readings: readonly object[];
  if (url === undefined) {
    const options = idOptionsOf(config, false);
    const decoder = new IdDecoder({ ...options, nowMs: Date.now });
    readings = (scheme === undefined ? decoder.readAny(id, biz) : [decoder.readNamed(id, scheme, biz)]).map(
      ({ timestampMs, ...parts }) => ({
        ...parts,
        time: timestampMs === undefined ? undefined : new Date(timestampMs).toISOString(),
      }),
    );
  } else {
    const data = await ask(url, '/ids/decode', { id, scheme, biz }, config.http.token);
    readings = (data as { readonly readings: readonly object[] }).readings;
  }
  const facts = (reading: object): string[] =>
    Object.entries(reading).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return readings.map((reading) => facts(reading).join(' '));
}

async function ask(
  url: string,
  path: string,
  query: Readonly<Record<string, string | undefined>>,
  token: string,
): Promise<unknown> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, value);
  const target = `${url.replace(/\/+$/, '')}${path}?${search}`;
  let answer: { readonly code?: number; readonly message?: string; readonly data?: unknown };
  try {
    const response = await fetch(target, {
      headers: token === '' ? {} : { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    answer = (await response.json()) as typeof answer;
  } catch (error) {
    throw new HalleyError('ID_SERVER_AWAY', 'the id server must answer at this address (--url)', { url }, error);
  }
  if (answer.code === 0) return answer.data;
  throw new HalleyError('ID_SERVER_REFUSED', answer.message ?? 'the server gave no reason', { code: answer.code });
}

async function serve(config: Config, io: StartIo): Promise<number> {
  const server = new IdServer(config);
  const stopRequested = new Promise<string>((resolve) => io.onSignal(resolve));
  const { httpUrl, grpcPort } = await server.start();
  io.out('halley gives out ids');
  io.out(`  HTTP API   ${httpUrl}ids`);
  if (grpcPort !== undefined) io.out(`  gRPC       ${config.host}:${grpcPort}`);
  io.out(`halley is stopping (${await stopRequested})`);
  await server.stop();
  io.out('halley has stopped');
  return EXIT.OK;
}

/** One range per counter: what a generator fetches ahead nobody would draw. */
class OnceStore implements SegmentStore {
  readonly mayForget: boolean;
  readonly #store: SegmentStore;
  readonly #takenTags = new Set<string>();

  constructor(store: SegmentStore) {
    this.#store = store;
    this.mayForget = store.mayForget;
  }

  async take(tag: string, count: number): Promise<SegmentGrant | undefined> {
    if (this.#takenTags.has(tag)) throw fetchedAhead();
    const grant = await this.#store.take(tag, count);
    // A counter that does not exist is made and asked again.
    if (grant !== undefined) this.#takenTags.add(tag);
    return grant;
  }

  read(tag: string): ReturnType<SegmentStore['read']> {
    return this.#store.read(tag);
  }

  replace(...args: Parameters<SegmentStore['replace']>): Promise<number> {
    return this.#store.replace(...args);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** The same for a source that has no store. */
class OnceSource implements RangeSource {
  readonly #source: RangeSource;
  #isTaken = false;

  constructor(source: RangeSource) {
    this.#source = source;
  }

  async reserve(idCount: number): ReturnType<RangeSource['reserve']> {
    if (this.#isTaken) throw fetchedAhead();
    const range = await this.#source.reserve(idCount);
    this.#isTaken = true;
    return range;
  }
}

function fetchedAhead(): HalleyError {
  return new HalleyError('ID_RANGE_EMPTY', 'one range was taken, and no more is fetched ahead');
}
