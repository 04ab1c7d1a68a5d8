/**
 * operator-command: what `push`, `online`, `nodes`, `sessions`, `kick` and `drain` have in common: the command line, the API that
 * is meant, what is printed where, and the exit code. Each is a row of its own file; `OPERATOR_COMMANDS` has them all.
 *
 * Threads: main thread.
 * Guarantees: never exits the process and never reads argv, env or a file by itself. With `--json` standard output is one JSON
 *   document, or empty where the command failed; errors go to standard error.
 */
import type { ParseArgsConfig } from 'node:util';
import { HalleyError } from '../errors/index.js';
import { API_CERTIFICATE } from './api-tls.js';
import { DRAIN_COMMAND } from './drain-command.js';
import { API_REFUSED, API_UNREACHABLE, HttpClient } from './http-client.js';
import { KICK_COMMAND } from './kick-command.js';
import { NODES_COMMAND } from './nodes-command.js';
import { ONLINE_COMMAND } from './online-command.js';
import { apiTargetOf, COMMON_HELP, OperatorFlags, USAGE_ERROR } from './operator-flags.js';
import { PUSH_COMMAND } from './push-command.js';
import { SESSIONS_COMMAND } from './sessions-command.js';

export interface OperatorIo {
  /** Write to standard output; the text brings its own line ends. */
  readonly out: (text: string) => void;
  /** Write to standard error. */
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The bytes of a file; throws where it cannot be read. */
  readonly readFile: (path: string) => Uint8Array;
  /** Standard input to its end. */
  readonly readStdin: () => Promise<Uint8Array>;
}

/** What a command has done. */
export interface OperatorResult {
  /** For a person; whole lines. */
  readonly text: string;
  /** For a program: what the API answered. */
  readonly data: unknown;
}

/** Where a command gets the bytes that it is not given on the command line. */
export type OperatorInput = Pick<OperatorIo, 'readFile' | 'readStdin'>;

export interface OperatorCommand {
  readonly name: string;
  /** One line for `halley --help`. */
  readonly summary: string;
  /** `Usage: ...` and the command's own options, whole lines. */
  readonly help: string;
  readonly options: NonNullable<ParseArgsConfig['options']>;
  /**
   * Read the command line, whole, before anything is asked.
   * @returns what to do then
   * @throws HalleyError CLI_USAGE
   */
  readonly prepare: (flags: OperatorFlags) => (api: HttpClient, input: OperatorInput) => Promise<OperatorResult>;
}

export const OPERATOR_EXIT = { OK: 0, REFUSED: 1, USAGE: 2, UNREACHABLE: 3 } as const;

export const OPERATOR_COMMANDS: readonly OperatorCommand[] = [
  PUSH_COMMAND,
  ONLINE_COMMAND,
  NODES_COMMAND,
  SESSIONS_COMMAND,
  KICK_COMMAND,
  DRAIN_COMMAND,
];

const EXIT_BY_ERROR: ReadonlyMap<string, number> = new Map<string, number>([
  [API_REFUSED, OPERATOR_EXIT.REFUSED],
  [API_UNREACHABLE, OPERATOR_EXIT.UNREACHABLE],
  [API_CERTIFICATE, OPERATOR_EXIT.UNREACHABLE],
  [USAGE_ERROR, OPERATOR_EXIT.USAGE],
  ['CONFIG_INVALID', OPERATOR_EXIT.USAGE],
]);

/**
 * Run one command. Resolves with the exit code.
 * @param argv what follows the command's name
 * @throws what is no misuse and no answer: a defect
 */
export async function runOperatorCommand(
  command: OperatorCommand,
  argv: readonly string[],
  io: OperatorIo,
): Promise<number> {
  try {
    const flags = new OperatorFlags(argv, command.options);
    if (flags.has('help')) {
      io.out(`${command.help}${COMMON_HELP}`);
      return OPERATOR_EXIT.OK;
    }
    const perform = command.prepare(flags);
    const target = apiTargetOf(flags, io.env, (path) => Buffer.from(io.readFile(path)).toString());
    const { text, data } = await perform(new HttpClient(target), io);
    io.out(flags.has('json') ? `${JSON.stringify(data, null, 2)}\n` : text);
    return OPERATOR_EXIT.OK;
  } catch (error) {
    const exitCode = error instanceof HalleyError ? EXIT_BY_ERROR.get(error.code) : undefined;
    if (exitCode === undefined) throw error;
    io.err(`halley ${command.name}: ${(error as HalleyError).message}\n`);
    if (exitCode === OPERATOR_EXIT.USAGE) io.err(`halley ${command.name} --help shows what there is\n`);
    return exitCode;
  }
}
