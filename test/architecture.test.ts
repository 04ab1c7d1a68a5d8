import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  cyclesOf,
  importsOf,
  MAX_LINES,
  problemsOf,
  type SourceFile,
  skippedIn,
  withoutComments,
} from './architecture.js';

/** Every TypeScript file below a directory of the repository. */
function filesOf(directory: string): SourceFile[] {
  const root = fileURLToPath(new URL(`../${directory}`, import.meta.url));
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.replaceAll('\\', '/'), text: readFileSync(join(root, path), 'utf8') }));
}

/** Problems of one file at a place in src/. */
const problems = (path: string, text: string) => problemsOf([{ path, text }]);

describe('the sources', () => {
  it('import downwards only, through the doors of folders, and keep the rules of the house', () => {
    const files = filesOf('src');
    expect(files.length).toBeGreaterThan(150);
    expect(problemsOf(files)).toEqual([]);
  });

  it('of the tests and benches outside src skip nothing either', () => {
    const files = [...filesOf('test'), ...filesOf('bench')].filter(({ path }) => path !== 'architecture.test.ts');
    expect(files.length).toBeGreaterThan(5);
    expect(files.flatMap(({ path, text }) => (skippedIn(text) === undefined ? [] : path))).toEqual([]);
  });
});

describe('the checker', () => {
  it.each([
    ['upwards', 'ring/x.ts', "import { a } from '../comet/index.js';", 'ring/x.ts: imports upwards, ring -> comet'],
    ['sideways', 'job/x.ts', "import { a } from '../logic/index.js';", 'job/x.ts: imports sideways, job -> logic'],
    ['the type of', 'id/x.ts', "import type { A } from '../job/index.js';", 'id/x.ts: imports upwards, id -> job'],
    [
      'an inner file',
      'comet/bucket/x.ts',
      "import { a } from '../../ring/ring-writer.js';",
      'comet/bucket/x.ts: imports ring/ring-writer.ts and not ring/index.ts',
    ],
    [
      'the type of an inner file',
      'comet/x.ts',
      "import type { A } from '../ring/ring-writer.js';",
      'comet/x.ts: imports ring/ring-writer.ts and not ring/index.ts',
    ],
    ['by export', 'ring/x.ts', "export { a } from '../comet/index.js';", 'ring/x.ts: imports upwards, ring -> comet'],
    ['later', 'ring/x.ts', "const a = await import('../comet/index.js');", 'ring/x.ts: imports upwards, ring -> comet'],
    ['for its effect', 'ring/x.ts', "import '../comet/index.js';", 'ring/x.ts: imports upwards, ring -> comet'],
    [
      'over several lines',
      'ring/x.ts',
      "import {\n  a,\n  b,\n} from '../comet/index.js';",
      'ring/x.ts: imports upwards, ring -> comet',
    ],
    [
      'Node in a browser folder',
      'protocol/x.ts',
      "import { a } from 'node:fs';",
      'protocol/x.ts: protocol runs in browsers and must not import node:fs',
    ],
    [
      'Node in the client',
      'client/x.ts',
      "import { a } from 'node:net';",
      'client/x.ts: client runs in browsers and must not import node:net',
    ],
    [
      'outside',
      'comet/x.ts',
      "import { a } from '../../test/kit/index.js';",
      'comet/x.ts: imports ../../test/kit/index.js from outside src',
    ],
    [
      'an unknown folder',
      'comet/x.ts',
      "import { a } from '../utils/index.js';",
      'comet/x.ts: imports ../utils/index.js, whose folder has no layer',
    ],
    ['out of an unknown folder', 'utils/x.ts', '', 'utils/x.ts: the folder utils has no layer'],
  ])('finds an import %s', (_, path, text, problem) => {
    expect(problems(path, text)).toEqual([problem]);
  });

  it.each([
    ['downwards', 'comet/x.ts', "import { a } from '../ring/index.js';"],
    ['inside a folder', 'comet/bucket/x.ts', "import { a } from '../record-link.js';"],
    ['of a package', 'comet/x.ts', "import { Packr } from 'msgpackr';"],
    ['of Node on the server', 'comet/x.ts', "import { a } from 'node:fs';"],
    ['of a command by the program', 'main.ts', "import { a } from './cli/start-command.js';"],
    ['of an adapter for its port', 'store/x.ts', "import type { A } from '../push/index.js';"],
    ['of test tools by a test', 'comet/x.test.ts', "import { a } from '../../test/kit/index.js';"],
    ['in a comment', 'ring/x.ts', "/**\n import { a } from '../comet/index.js';\n */\n// import '../comet/index.js';"],
  ])('leaves an import %s alone', (_, path, text) => {
    expect(problems(path, text)).toEqual([]);
  });

  it('finds circles of folders, over any number of them', () => {
    const edges = (...pairs: string[]) => {
      const map = new Map<string, Set<string>>();
      for (const pair of pairs) {
        const [from = '', to = ''] = pair.split('>');
        map.set(from, (map.get(from) ?? new Set()).add(to));
      }
      return map;
    };
    expect(cyclesOf(edges('a>b', 'b>c', 'c>a'))).toEqual([['a', 'b', 'c', 'a']]);
    expect(cyclesOf(edges('a>b', 'b>a', 'x>y'))).toEqual([['a', 'b', 'a']]);
    expect(cyclesOf(edges('a>b', 'a>c', 'b>d', 'c>d'))).toEqual([]);
    expect(
      problemsOf([
        { path: 'store/x.ts', text: "import { a } from '../push/index.js';" },
        { path: 'push/x.ts', text: "import { a } from '../store/index.js';" },
      ]),
    ).toContain('folders import each other in a circle: store -> push -> store');
  });

  it.each([
    ['argv outside cli', 'comet/x.ts', 'const a = process.argv[2];'],
    ['env outside cli', 'logic/x.ts', "const a = process.env['HOME'];"],
    ['env by its name in brackets', 'logic/x.ts', "const a = process['env'];"],
    ['state of a module', 'comet/x.ts', 'let count = 0;'],
    ['state of a module that is exported', 'comet/x.ts', 'export let count = 0;'],
    ['a skipped test', 'comet/x.test.ts', "it.skip('x', () => {});"],
    ['a test that runs alone', 'comet/x.test.ts', "describe.only('x', () => {});"],
    ['a test that is still to be written', 'comet/x.test.ts', "test.todo('x');"],
    ['something put off', 'comet/x.ts', '// TODO: later'],
    ['a long file', 'comet/x.ts', '\n'.repeat(MAX_LINES)],
  ])('finds %s', (_, path, text) => {
    expect(problems(path, text)).toHaveLength(1);
  });

  it.each([
    ['argv in cli', 'cli/x.ts', 'const a = process.argv[2];'],
    ['env in the program', 'main.ts', 'const a = process.env;'],
    ['env in a comment', 'comet/x.ts', '// process.env is read by cli/'],
    ['let inside a function', 'comet/x.ts', 'function f() {\n  let count = 0;\n  return count;\n}'],
    ['state of a worker entry', 'comet/x.worker.ts', 'let count = 0;'],
    ['a long test', 'comet/x.test.ts', '\n'.repeat(MAX_LINES)],
  ])('leaves %s alone', (_, path, text) => {
    expect(problems(path, text)).toEqual([]);
  });

  it('says where a file is listed as long and no longer is', () => {
    const files = [
      { path: 'comet/bucket/bucket.ts', text: '' },
      { path: 'comet/x.ts', text: '' },
    ];
    expect(problemsOf(files)).toContain('comet/bucket/bucket.ts is listed as long and is not: lines=1');
  });

  it('reads code, not comments, and leaves strings whole', () => {
    expect(importsOf("const a = 'x'; // from './no.js'\nimport b from './b.js';")).toEqual(['./b.js']);
    expect(withoutComments("const url = 'http://x'; // gone")).toBe("const url = 'http://x';        ");
    expect(withoutComments('a /* b\n c */ d')).toBe('a     \n      d');
  });
});
