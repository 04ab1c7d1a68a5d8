// npm run docs [-- --check]: write what is generated: the marked parts of README.md, and config/default.toml. With --check
// nothing is written; exit code 1 and a line per file or part that is stale. test/docs.test.ts runs the same functions.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A Markdown table; cells are text, a bar in them is escaped. */
function table(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** The generated parts of the README by name, from the modules of src/ (or dist/) that own the tables. */
export function readmeParts({ config, errors, logic, protocol, telemetry }) {
  const { OP, OP_DIRECTION, FIRST_EXTENSION_OP } = protocol;
  return {
    options: config.optionTableMarkdown().trimEnd(),
    routes: logic.routeTableMarkdown().trimEnd(),
    'close-codes': table(
      ['code', 'name', 'reason', 'meaning'],
      Object.entries(errors.CLOSE).map(([name, { code, reason, doc }]) => [code, `\`${name}\``, reason, doc]),
    ),
    'client-errors': table(
      ['code', 'name', 'message', 'temporary'],
      Object.entries(errors.CLIENT_ERROR).map(([name, { code, message, temporary }]) => [
        code,
        `\`${name}\``,
        message,
        temporary ? 'yes' : 'no',
      ]),
    ),
    ops: table(
      ['op', 'name', 'direction', 'of'],
      Object.entries(OP).map(([name, op]) => [
        op,
        `\`${name}\``,
        OP_DIRECTION[name],
        op < FIRST_EXTENSION_OP ? 'goim' : 'Halley',
      ]),
    ),
    metrics: table(
      ['name', 'kind', 'of a node', 'meaning'],
      telemetry.METRICS.map(({ name, kind, total, doc }) => [`\`${name}\``, kind, total, doc]),
    ),
  };
}

const MARKED = /<!-- generated:([\w-]+) -->\n[\s\S]*?<!-- \/generated:\1 -->/g;

/** What stands between the markers of a part now, undefined where it has none. */
function partOf(readme, name) {
  for (const [text, found] of readme.matchAll(MARKED)) if (found === name) return text;
  return undefined;
}

function marked(name, content) {
  return `<!-- generated:${name} -->\n\n${content}\n\n<!-- /generated:${name} -->`;
}

/** The README with every part as it should be. Throws where a part has no markers, or markers have no part. */
export function renderReadme(readme, parts) {
  for (const name of Object.keys(parts)) {
    if (partOf(readme, name) === undefined) throw new Error(`README.md has no markers for the part: name=${name}`);
  }
  return readme.replace(MARKED, (_, name) => {
    if (!(name in parts)) throw new Error(`README.md has markers for a part that nothing generates: name=${name}`);
    return marked(name, parts[name]);
  });
}

/** What is stale: `README.md (options)`, `config/default.toml`. Empty: nothing. */
export function stalePlaces(files, modules) {
  const parts = readmeParts(modules);
  // Throws where markers and parts do not meet.
  renderReadme(files.readme, parts);
  const stale = Object.keys(parts)
    .filter((name) => partOf(files.readme, name) !== marked(name, parts[name]))
    .map((name) => `README.md (${name})`);
  if (files.defaultToml !== modules.config.defaultToml()) stale.push('config/default.toml');
  return stale;
}

/** The files that are generated, as they stand in the repository. */
export function readDocs() {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..');
  const read = (path) => readFileSync(join(root, path), 'utf8');
  return { root, readme: read('README.md'), defaultToml: read('config/default.toml') };
}

async function main() {
  const files = readDocs();
  const load = (folder) => import(new URL(`../dist/${folder}/index.js`, import.meta.url).href);
  const [config, errors, logic, protocol, telemetry] = await Promise.all(
    ['config', 'errors', 'logic', 'protocol', 'telemetry'].map(load),
  );
  const modules = { config, errors, logic, protocol, telemetry };
  const stale = stalePlaces(files, modules);
  if (process.argv.includes('--check')) {
    for (const place of stale) console.error(`stale: ${place}; run npm run docs`);
    process.exit(stale.length === 0 ? 0 : 1);
  }
  writeFileSync(join(files.root, 'README.md'), renderReadme(files.readme, readmeParts(modules)));
  writeFileSync(join(files.root, 'config/default.toml'), config.defaultToml());
  console.log(stale.length === 0 ? 'everything was up to date' : `written: ${stale.join(', ')}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
