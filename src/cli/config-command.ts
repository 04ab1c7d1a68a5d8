/**
 * `halley config check|show|explain`: is this configuration sound, what is it, and why.
 *
 * Threads: main thread, before anything is started.
 * Guarantees: never exits the process and never reads argv, env or a file by itself; secrets are redacted in all output.
 */
import {
  type ConfigInspection,
  type ConfigProblem,
  effectiveToml,
  explainConfig,
  findOption,
  flagRows,
  helpLines,
  inspectConfig,
  nearestName,
  OPTION_ROWS,
  type OptionExplanation,
  problemLine,
  redactedConfig,
} from '../config/index.js';

export interface ConfigCommandIo {
  /** Write to standard output; the text brings its own line ends. */
  readonly out: (text: string) => void;
  /** Write to standard error. */
  readonly err: (text: string) => void;
  /** The text of a file; throws where it cannot be read. */
  readonly readFile: (path: string) => string;
}

/** 0: done, the configuration is sound. 1: the configuration has problems. 2: the command line is not understood. */
export type ConfigExitCode = 0 | 1 | 2;

const SUBCOMMANDS = ['check', 'show', 'explain'] as const;
const KNOWN_FLAG_NAMES: ReadonlySet<string> = new Set(flagRows().map((row) => row.name));
type Subcommand = (typeof SUBCOMMANDS)[number];

interface ParsedArgv {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string>>;
  readonly asJson: boolean;
  readonly wantsHelp: boolean;
}

/**
 * Run one `config` command.
 *
 * @param argv what follows `halley config`
 * @param env the environment; of it only `HALLEY_*` is read
 */
export function runConfigCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  io: ConfigCommandIo,
): ConfigExitCode {
  const parsed = parseArgv(argv);
  if (typeof parsed === 'string') return usageError(io, parsed);
  if (parsed.wantsHelp) {
    io.out(usage());
    return 0;
  }
  const [subcommand, ...rest] = parsed.positionals;
  if (!isSubcommand(subcommand)) {
    if (subcommand === undefined) return usageError(io, `expected one of ${SUBCOMMANDS.join(', ')}`);
    return usageError(
      io,
      `no such command, the nearest is ${nearestName(subcommand, SUBCOMMANDS)}: command=${subcommand}`,
    );
  }
  const optionPath = subcommand === 'explain' ? rest.shift() : undefined;
  if (rest.length > 0) return usageError(io, `one argument too many: argument=${rest[0]}`);
  if (optionPath !== undefined && findOption(optionPath) === undefined) {
    const nearest = nearestName(
      optionPath,
      OPTION_ROWS.map((row) => row.path),
    );
    return usageError(io, `no such option, the nearest is ${nearest}: option=${optionPath}`);
  }
  const inspection = inspectConfig({ argvFlags: parsed.flags, env, readFile: io.readFile });
  const isSound = inspection.problems.length === 0;
  if (parsed.asJson) io.out(`${JSON.stringify(jsonOf(subcommand, inspection, optionPath), null, 2)}\n`);
  else {
    if (subcommand === 'check' && isSound) io.out('ok\n');
    if (subcommand === 'show' && isSound) io.out(effectiveToml(inspection));
    if (subcommand === 'explain') io.out(explainText(inspection, optionPath));
    for (const problem of inspection.problems) io.err(`${problemLine(problem)}\n`);
  }
  return isSound ? 0 : 1;
}

function isSubcommand(word: string | undefined): word is Subcommand {
  return (SUBCOMMANDS as readonly (string | undefined)[]).includes(word);
}

/** The parts of `argv`, or a sentence about what cannot be understood. Unknown flags are left to the configuration's own check. */
function parseArgv(argv: readonly string[]): ParsedArgv | string {
  const positionals: string[] = [];
  const flags = new Map<string, string>();
  let asJson = false;
  let wantsHelp = false;
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] as string;
    if (word === '--json') asJson = true;
    else if (word === '--help' || word === '-h') wantsHelp = true;
    else if (word.startsWith('-')) {
      const [, name, inlineValue] = /^--?([^=]*)(?:=([\s\S]*))?$/.exec(word) as unknown as [string, string, string?];
      const nextIsValue = inlineValue === undefined && argv[index + 1]?.startsWith('--') === false;
      const value = inlineValue ?? (nextIsValue ? (argv[++index] as string) : undefined);
      // An unknown flag goes on without a value: the configuration's own check names the nearest one.
      if (value === undefined && KNOWN_FLAG_NAMES.has(name)) return `the flag needs a value: flag=--${name}`;
      if (flags.has(name)) return `the flag is given twice: flag=--${name}`;
      flags.set(name, value ?? '');
    } else positionals.push(word);
  }
  return { positionals, flags: Object.fromEntries(flags), asJson, wantsHelp };
}

function usage(): string {
  return [
    'Usage: halley config check|show|explain [option] [--json] [flags]',
    '  check            say ok, or every problem (exit code 1)',
    '  show             the effective configuration as TOML, secrets redacted',
    '  explain          value, origin and meaning of every option',
    '  explain <option> the same of one option, with its range and names',
    'Flags:',
    ...helpLines(),
    '',
  ].join('\n');
}

function usageError(io: ConfigCommandIo, sentence: string): 2 {
  io.err(`${sentence}\n${usage()}`);
  return 2;
}

function jsonOf(subcommand: Subcommand, inspection: ConfigInspection, optionPath: string | undefined): unknown {
  const ok = inspection.problems.length === 0;
  const problems = inspection.problems.map(jsonProblem);
  if (subcommand === 'check') return { ok, problems };
  if (subcommand === 'show') return ok ? { ok, config: redactedConfig(inspection) } : { ok, problems };
  return { ok, options: explanations(inspection, optionPath), problems };
}

function jsonProblem(problem: ConfigProblem): object {
  return { code: problem.code, path: problem.path, origin: problem.origin, message: problemLine(problem) };
}

function explanations(inspection: ConfigInspection, optionPath: string | undefined): OptionExplanation[] {
  return explainConfig(inspection).filter((row) => optionPath === undefined || row.path === optionPath);
}

function explainText(inspection: ConfigInspection, optionPath: string | undefined): string {
  const rows = explanations(inspection, optionPath);
  return optionPath === undefined
    ? columns(rows.map((row) => [row.path, row.shown, row.originText, row.doc]))
    : rows.map(oneOption).join('');
}

function oneOption(row: OptionExplanation): string {
  const facts = [
    ['value', row.shown],
    ['origin', row.originText],
    ['default', JSON.stringify(row.default)],
    ['range', row.range],
    ['env', row.env],
    ['flag', row.flag ?? 'none'],
    ['meaning', row.doc],
  ];
  return `${row.path}\n${columns(facts.map((fact) => ['', ...fact]))}`;
}

/** Left-aligned columns, two blanks apart; the last one is not padded. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] as number))).join('  ');
  return rows.map((row) => `${line(row)}\n`).join('');
}
