import { expect, it } from 'vitest';
import { EXIT, runStartCommand } from './start-command.js';

/** Run `halley <flags>` and keep what it says. */
async function run(flags: Record<string, string>, env: Record<string, string> = {}) {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const code = await runStartCommand(flags, env, { out: say, err: say, onSignal: () => {}, onReload: () => {} });
  return { code, lines };
}

it('ends with one line that names the option where the configuration is wrong', async () => {
  const { code, lines } = await run({ 'ws-port': 'x' });
  expect(code).toBe(EXIT.FAILED);
  expect(lines[0]).toMatch(/^halley: .*ws_port.*\[\w+\]$/s);
});

it('ends with the file it could not read', async () => {
  const { code, lines } = await run({}, { HALLEY_CONFIG: '/no/such/halley.toml' });
  expect(code).toBe(EXIT.FAILED);
  expect(lines.join('\n')).toContain('/no/such/halley.toml');
});
