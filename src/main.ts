#!/usr/bin/env node
/**
 * The program: reads argv and env, runs one command, exits. `node dist/main.js` and the `halley` bin are the same.
 */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { runBenchCommand } from './cli/bench-command.js';
import { type ClusterIo, runClusterCommand } from './cli/cluster-command.js';
import { runConfigCommand } from './cli/config-command.js';
import { OPERATOR_COMMANDS, type OperatorCommand, runOperatorCommand } from './cli/operator-command.js';
import { EXIT, runStartCommand } from './cli/start-command.js';
import { packageVersion } from './cli/version.js';
import { flagRows } from './config/index.js';

const out = (line: string): void => void process.stdout.write(`${line}\n`);
const err = (line: string): void => void process.stderr.write(`${line}\n`);

/** What follows a sub-command, as it was written: the options of the program itself would take some of it away. */
function wordsAfter(name: string): string[] {
  return process.argv.slice(process.argv.indexOf(name, 2) + 1);
}

/** Ends the process: after the third signal at once, otherwise through the command's own end. */
function onSignal(handler: (signal: string) => void): void {
  let count = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      count += 1;
      // process.exit() would abort in the middle of the buckets' sockets, with a core dump.
      if (count > 2) process.kill(process.pid, 'SIGKILL');
      handler(signal);
    });
  }
}

/** SIGHUP ends a process that does not listen to it; a node reads its certificates again instead. */
function onReload(handler: () => void): void {
  process.on('SIGHUP', handler);
}

/** A cluster's processes outlive this one unless it ends them: so nothing ends it at once, a lost terminal included. */
const onClusterSignal: ClusterIo['onSignal'] = (handler) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => handler(signal));
  for (const stream of [process.stdout, process.stderr]) {
    let isBroken = false;
    // Every further line fails likewise.
    stream.on('error', () => {
      if (!isBroken) handler('a closed pipe');
      isBroken = true;
    });
  }
};

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const program = new Command('halley')
  .description('A comet: rooms, pushes and chat for very many connections.')
  .version(packageVersion())
  .showHelpAfterError('(halley --help shows what there is)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.OK : EXIT.USAGE));

for (const { flag, placeholder, doc } of flagRows()) program.addOption(new Option(`${flag} ${placeholder}`, doc));
program
  .addHelpText('after', '\nEvery option has a HALLEY_* variable and a TOML key: halley config explain')
  .action(async () => {
    const flags: Record<string, string> = {};
    for (const option of program.options) {
      const value: unknown = program.getOptionValue(option.attributeName());
      if (option.long !== undefined && typeof value === 'string') flags[option.long.slice(2)] = value;
    }
    process.exitCode = await runStartCommand(flags, process.env, { out, err, onSignal, onReload });
    // A bucket that was cut off, or a library's timer, must not keep a stopped node alive.
    process.exit();
  });

program
  .command('config')
  .description('check, show or explain the configuration')
  .argument('[words...]', 'check | show | explain [option]')
  .allowUnknownOption()
  .helpOption(false)
  .action(() => {
    process.exitCode = runConfigCommand(wordsAfter('config'), process.env, {
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
      readFile: (path) => readFileSync(path, 'utf8'),
    });
  });

program
  .command('bench')
  .description('measure a running server, or one it starts, with many connections')
  .argument('[words...]', 'halley bench --help lists its options')
  .allowUnknownOption()
  .helpOption(false)
  .action(async () => {
    process.exitCode = await runBenchCommand(wordsAfter('bench'), {
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
      progressColumns: process.stderr.isTTY ? process.stderr.columns : 0,
      env: process.env,
    });
  });

function addOperatorCommand(command: OperatorCommand): void {
  program
    .command(command.name)
    .description(command.summary)
    .argument('[words...]', `halley ${command.name} --help lists its options`)
    .allowUnknownOption()
    .helpOption(false)
    .action(async () => {
      process.exitCode = await runOperatorCommand(command, wordsAfter(command.name), {
        out: (text) => void process.stdout.write(text),
        err: (text) => void process.stderr.write(text),
        env: process.env,
        readFile: (path) => readFileSync(path),
        readStdin,
      });
    });
}
for (const command of OPERATOR_COMMANDS) addOperatorCommand(command);

program
  .command('cluster')
  .description('run several nodes and their Redis on this machine')
  .argument('[words...]', 'halley cluster --help lists its options')
  .allowUnknownOption()
  .helpOption(false)
  .action(async () => {
    process.exitCode = await runClusterCommand(wordsAfter('cluster'), {
      out: (text) => void process.stdout.write(text),
      err: (text) => void process.stderr.write(text),
      env: process.env,
      readFile: (path) => readFileSync(path, 'utf8'),
      onSignal: onClusterSignal,
    });
    // The pipes of the processes that have ended must not keep this one.
    process.exit();
  });

program
  .command('id')
  .description('give out ids, take one apart, or serve them without a comet')
  .argument('[words...]', 'next | decode <id> | serve; halley id --help lists the options')
  .allowUnknownOption()
  .helpOption(false)
  .action(async () => {
    const words = process.argv.slice(process.argv.indexOf('id') + 1);
    // Loaded only now: it brings the Redis client, which a lone node does without.
    const { runIdCommand } = await import('./cli/id-command.js');
    process.exitCode = await runIdCommand(words, process.env, { out, err, onSignal });
    process.exit();
  });

await program.parseAsync();
