/**
 * What src/ may import, as a table and a checker. `architecture.test.ts` runs it over the sources.
 *
 * Works on text: a line that begins an import or export with a `from`, a bare import, or an import() of a literal. Comments
 * and strings are masked first where the rule is about code.
 */

/** DESIGN section 2. A folder imports from lower layers only. */
export const LAYERS: Readonly<Record<string, number>> = {
  errors: 0,
  clock: 0,
  address: 1,
  id: 1,
  ring: 1,
  protocol: 1,
  config: 1,
  telemetry: 1,
  actor: 2,
  push: 2,
  store: 2,
  client: 2,
  comet: 3,
  logic: 3,
  job: 3,
  im: 4,
  cli: 5,
  page: 5,
  main: 5,
  index: 5,
};

/** Edges inside a layer, each with its reason. They must not make a cycle. */
export const SIDEWAYS: Readonly<Record<string, string>> = {
  'clock -> errors': 'a clock refuses misuse with HalleyError',
  'store -> push': 'its adapters implement the session port, which stands in push',
  'main -> cli': 'the program runs the commands',
  'index -> cli': 'the library starts the same node as the program',
};

/** Rooms inside rooms with a door of their own, for what few load. */
const SECOND_DOORS: ReadonlySet<string> = new Set(['store/redis/index.ts', 'logic/auth.ts']);

/** Folders that browsers run: no Node in them. */
const ISOMORPHIC: ReadonlySet<string> = new Set(['protocol', 'client', 'page']);
/** The only places that read argv and env (DESIGN section 2, layer 5). */
const READS_PROCESS: ReadonlySet<string> = new Set(['cli', 'main']);

export const MAX_LINES = 450;
/** Longer files, each with its reason. */
export const LONG_FILES: Readonly<Record<string, string>> = {
  'actor/actor-cell.ts': 'one actor: mailbox, supervision and passivation are states of the same object',
  'cli/halley-node.ts': 'wires every part of a node, in the one order in which they need each other',
  'comet/comet-control.ts':
    'two faces of one state, the messages of buckets and CometPort; each job beside it has its own file',
  'comet/bucket/bucket.ts': 'wires every part of a bucket; each part has its own file',
};

export interface SourceFile {
  /** Below src/, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;

/** Module names that a file imports or exports from, in order. */
export function importsOf(text: string): string[] {
  return [...withoutComments(text).matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

/** The folder below src/ that a file belongs to; for a file of src/ itself its name. */
export function folderOf(path: string): string {
  const [first = ''] = path.split('/');
  return first.replace(/\.ts$/, '');
}

/** Tests, contracts and what only they use. */
export function isTestFile(path: string): boolean {
  return /\.(test|contract)\.ts$/.test(path) || path.includes('/fixtures/');
}

/** Resolve a relative import to a path below src/; undefined where it leaves src/. */
function resolveImport(fromPath: string, specifier: string): string | undefined {
  const parts = fromPath.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') {
      if (parts.length === 0) return undefined;
      parts.pop();
    } else if (part !== '.') parts.push(part);
  }
  return parts.join('/').replace(/\.js$/, '.ts');
}

/** Everything that is wrong with the sources, one sentence each. Empty: nothing. */
export function problemsOf(files: readonly SourceFile[]): string[] {
  const problems: string[] = [];
  const edges = new Map<string, Set<string>>();
  for (const file of files) {
    problems.push(...importProblems(file, edges), ...textProblems(file));
  }
  for (const cycle of cyclesOf(edges)) problems.push(`folders import each other in a circle: ${cycle.join(' -> ')}`);
  const paths = new Set(files.map((file) => file.path));
  for (const path of Object.keys(LONG_FILES)) {
    const lines = files.find((file) => file.path === path)?.text.split('\n').length ?? 0;
    if (paths.size > 1 && lines <= MAX_LINES) problems.push(`${path} is listed as long and is not: lines=${lines}`);
  }
  return problems;
}

function importProblems({ path, text }: SourceFile, edges: Map<string, Set<string>>): string[] {
  const problems: string[] = [];
  const folder = folderOf(path);
  const layer = LAYERS[folder];
  if (layer === undefined) return [`${path}: the folder ${folder} has no layer`];
  for (const specifier of importsOf(text)) {
    if (!specifier.startsWith('.')) {
      if (specifier.startsWith('node:') && ISOMORPHIC.has(folder) && !isTestFile(path)) {
        problems.push(`${path}: ${folder} runs in browsers and must not import ${specifier}`);
      }
      continue;
    }
    const target = resolveImport(path, specifier);
    if (target === undefined) {
      if (!isTestFile(path)) problems.push(`${path}: imports ${specifier} from outside src`);
      continue;
    }
    const targetFolder = folderOf(target);
    if (targetFolder === folder) continue;
    const targetLayer = LAYERS[targetFolder];
    if (targetLayer === undefined) {
      problems.push(`${path}: imports ${specifier}, whose folder has no layer`);
      continue;
    }
    const edge = `${folder} -> ${targetFolder}`;
    if (targetLayer > layer) problems.push(`${path}: imports upwards, ${edge}`);
    else if (targetLayer === layer && SIDEWAYS[edge] === undefined) problems.push(`${path}: imports sideways, ${edge}`);
    // cli/ has no door of its own: only the two programs above it come in.
    if (SECOND_DOORS.has(target)) continue;
    if (target !== `${targetFolder}/index.ts` && target !== `${targetFolder}.ts` && targetFolder !== 'cli') {
      problems.push(`${path}: imports ${target} and not ${targetFolder}/index.ts`);
    }
    if (isTestFile(path)) continue;
    const targets = edges.get(folder) ?? new Set();
    edges.set(folder, targets.add(targetFolder));
  }
  return problems;
}

/** The first `.skip`, `.only`, `.todo` and the like of a test file, undefined for none. */
export function skippedIn(text: string): string | undefined {
  return /\b(?:it|test|describe|suite)\.(?:skip|only|todo|skipIf|runIf|fails)\b/.exec(withoutComments(text))?.[0];
}

function textProblems({ path, text }: SourceFile): string[] {
  const problems: string[] = [];
  const lines = text.split('\n').length;
  if (lines > MAX_LINES && !isTestFile(path) && LONG_FILES[path] === undefined) {
    problems.push(`${path}: at most ${MAX_LINES} lines, unless listed with a reason: lines=${lines}`);
  }
  const code = withoutComments(text);
  if (isTestFile(path)) {
    const skipped = skippedIn(text);
    if (skipped !== undefined) problems.push(`${path}: every test runs: found ${skipped}`);
  } else {
    if (!READS_PROCESS.has(folderOf(path)) && /\bprocess\s*(?:\.|\[['"])(argv|env)\b/.test(code)) {
      problems.push(`${path}: only cli/ and main.ts read process.argv and process.env`);
    }
    if (!path.endsWith('.worker.ts') && /^(?:export\s+)?(?:let|var)\b/m.test(code)) {
      problems.push(`${path}: no module-level state outside worker entries`);
    }
  }
  if (/\b(?:TODO|FIXME|XXX)\b/.test(text)) problems.push(`${path}: what is to be done is done, or an issue`);
  return problems;
}

/** One cycle per strongly connected group found by walking; empty for none. */
export function cyclesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const walk = (folder: string, trail: readonly string[]): void => {
    const at = trail.indexOf(folder);
    if (at >= 0) {
      cycles.push([...trail.slice(at), folder]);
      return;
    }
    if (done.has(folder)) return;
    for (const next of edges.get(folder) ?? []) walk(next, [...trail, folder]);
    done.add(folder);
  };
  for (const folder of edges.keys()) walk(folder, []);
  return cycles;
}

/** The text with comments blanked; strings stay. Lines keep their numbers. */
export function withoutComments(text: string): string {
  // A string, template or regular expression is matched first, so that "//" inside of it is left alone.
  const token = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(token, (found) => (found.startsWith('/') ? found.replace(/[^\n]/g, ' ') : found));
}
