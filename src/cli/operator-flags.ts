/**
 * operator-flags: the command line of the operators' commands, and which API they mean.
 *
 * The address follows from the same configuration as the node's (default < file < HALLEY_* < `--url`), so that on the node's own
 * machine nothing has to be said. The token never stands on a command line, where every user of the machine could read it.
 */
import { X509Certificate } from 'node:crypto';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { loadConfig } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import type { ApiTarget } from './http-client.js';

export const USAGE_ERROR = 'CLI_USAGE';

type Options = NonNullable<ParseArgsConfig['options']>;

const COMMON: Options = {
  url: { type: 'string' },
  ca: { type: 'string' },
  config: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
};

export const COMMON_HELP = `  --url http://host:port   HTTP API of a node, or https:// (default: from host, http_port and tls of the configuration)
  --ca FILE                PEM file of the authority behind an https:// API (default: the usual ones)
  --config FILE            TOML file that host, http_port and http.token are read from
  --json                   one JSON document: what the API answered
HALLEY_HTTP_TOKEN in the environment (or http.token in the file) is the API token.
Exit code 0: done; 1: refused by the node, the message says why; 2: wrong usage; 3: no node could be reached.
`;

/** Addresses to listen on that nobody can connect to, and where that listener is found on its own machine. */
const OWN_ADDRESS: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/** A command line that is not understood: one sentence, with the bound it states. */
export function misuse(sentence: string, details: Readonly<Record<string, string | number>> = {}): HalleyError {
  return new HalleyError(USAGE_ERROR, sentence, details);
}

/** The flags and words of one command, read strictly. */
export class OperatorFlags {
  readonly words: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * @param argv what follows the command's name
   * @throws HalleyError CLI_USAGE
   */
  constructor(argv: readonly string[], options: Options, takesCommon = true) {
    try {
      const parsed = parseArgs({
        args: [...argv],
        options: takesCommon ? { ...COMMON, ...options } : options,
        allowPositionals: true,
        tokens: true,
      });
      this.words = parsed.positionals;
      this.#values = parsed.values;
      const seen = new Set<string>();
      for (const token of parsed.tokens) {
        if (token.kind !== 'option') continue;
        if (seen.has(token.name) && options[token.name]?.multiple !== true) {
          throw misuse('the flag is given twice', { flag: token.rawName });
        }
        seen.add(token.name);
      }
    } catch (error) {
      if (error instanceof HalleyError) throw error;
      throw misuse(error instanceof Error ? error.message : String(error));
    }
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  text(name: string): string | undefined {
    return this.#values[name] as string | undefined;
  }

  /** In the order given; empty where the flag is absent. */
  texts(name: string): readonly string[] {
    return (this.#values[name] as readonly string[] | undefined) ?? [];
  }

  integer(name: string, [min, max]: readonly [number, number]): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw misuse(`--${name} must be an integer of ${min} to ${max}`, { [name]: text });
  }

  /** @throws HalleyError CLI_USAGE where there are words that the command does not take */
  noWords(): void {
    const [word] = this.words;
    if (word !== undefined) throw misuse('one argument too many', { argument: word });
  }
}

/** A user's id as a word or flag. @throws HalleyError CLI_USAGE */
export function midOf(text: string): number {
  const mid = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : 0;
  if (mid > 0 && Number.isSafeInteger(mid)) return mid;
  throw misuse(`a mid is an integer of 1 to ${Number.MAX_SAFE_INTEGER}, device keys go with --key`, { mid: text });
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw misuse('--url must be an address such as http://127.0.0.1:3111', { url: text });
  }
  if (url.username !== '' || url.password !== '') {
    throw misuse('--url must not hold a login, the API takes a token: HALLEY_HTTP_TOKEN', { host: url.host });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/**
 * @param readFile the text of the configuration file; throws where it cannot be read
 * @throws HalleyError CLI_USAGE, CONFIG_INVALID
 */
export function apiTargetOf(
  flags: OperatorFlags,
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string,
): ApiTarget {
  const givenUrl = flags.text('url');
  const url = givenUrl === undefined ? undefined : checkedUrl(givenUrl);
  const file = flags.text('config');
  const { config } = loadConfig({ argvFlags: file === undefined ? {} : { config: file }, env, readFile });
  const { token } = config.http;
  const caFile = flags.text('ca');
  const ca = caFile === undefined ? undefined : readPem('--ca', caFile, readFile);
  if (url !== undefined) return { url, token, ca };
  if (config.http_port === 0) throw misuse('http_port is 0, any free port: say which one with --url', { http_port: 0 });
  const host = OWN_ADDRESS.get(config.host) ?? config.host;
  const address = `${host.includes(':') ? `[${host}]` : host}:${config.http_port}`;
  if (config.tls.http === 'off') return { url: `http://${address}`, token, ca };
  // The address to listen on is no name that a certificate holds.
  const certificate = ca === undefined ? readPem('tls.cert_file', config.tls.cert_file, readFile) : undefined;
  return { url: `https://${address}`, token, ca, certificate };
}

/** @throws HalleyError CLI_USAGE where the file does not begin with a certificate */
function readPem(name: string, path: string, readFile: (path: string) => string): string {
  try {
    const pem = readFile(path);
    new X509Certificate(pem);
    return pem;
  } catch {
    throw misuse(`${name} must be a PEM file with a certificate, and readable`, { file: path });
  }
}
