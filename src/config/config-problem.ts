/**
 * What is wrong with a configuration: one record per problem, collected, and reported together as one error.
 */
import { HalleyError } from '../errors/index.js';

/** Where a value came from. Later sources win: default < profile < file < env < flag. */
export interface Origin {
  readonly source: 'default' | 'profile' | 'file' | 'env' | 'flag';
  /** Name of the profile, file path, env variable or flag; `""` for a default. */
  readonly name: string;
}

export const DEFAULT_ORIGIN: Origin = Object.freeze({ source: 'default', name: '' });

/** `file config/production.toml`, `env HALLEY_HOST`, `flag --host`, `default`. */
export function originText(origin: Origin): string {
  return origin.name === '' ? origin.source : `${origin.source} ${origin.name}`;
}

export interface ConfigProblem {
  readonly code: 'UNKNOWN_OPTION' | 'BAD_VALUE' | 'RULE' | 'FILE';
  /** Path of the option concerned; for an unknown one the name as written; for a file its path. */
  readonly path: string;
  /** What was expected, one sentence built from the bound, without dot. */
  readonly sentence: string;
  readonly origin: Origin;
  /** `name=value`; never holds a secret, and of an unknown option only the name (it may be a misspelt secret). */
  readonly fact: string;
}

/** One problem as one line that ends in `name=value`. */
export function problemLine(problem: ConfigProblem): string {
  return `${problem.sentence} (from ${originText(problem.origin)}): ${problem.fact}`;
}

/** All problems as one error with code `CONFIG_INVALID`. */
export function configError(problems: readonly ConfigProblem[]): HalleyError {
  const lines = problems.map(problemLine);
  const message =
    lines.length === 1 ? lines[0]! : `the configuration has ${lines.length} problems\n  ${lines.join('\n  ')}`;
  return new HalleyError('CONFIG_INVALID', message);
}
