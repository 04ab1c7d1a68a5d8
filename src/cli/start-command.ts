/**
 * `halley` without a sub-command: load the configuration, start the node, say where it listens, wait for a signal.
 */
import { readFileSync } from 'node:fs';
import { loadConfig } from '../config/index.js';
import { HalleyError } from '../errors/index.js';
import { preflight } from './preflight.js';
import { setV8Flags } from './v8-flags.js';

export interface StartIo {
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  /** Calls back at the first and every further request to stop. */
  readonly onSignal: (handler: (signal: string) => void) => void;
}

export interface NodeIo extends StartIo {
  /** Calls back at each request to read again what can be read again (SIGHUP). */
  readonly onReload: (handler: () => void) => void;
}

export const EXIT = { OK: 0, FAILED: 1, USAGE: 2, TIMED_OUT: 3 } as const;

/** Run a node until it is told to stop. Resolves with the exit code. */
export async function runStartCommand(
  argvFlags: Readonly<Record<string, string>>,
  env: NodeJS.ProcessEnv,
  io: NodeIo,
): Promise<number> {
  setV8Flags();
  const startedMs = performance.now();
  // From the first moment: whoever does not listen to SIGHUP is ended by it.
  let reload: () => void = () => {};
  io.onReload(() => reload());
  try {
    preflight();
    const { config } = loadConfig({ argvFlags, env, readFile: (path) => readFileSync(path, 'utf8') });
    // Loaded only now: on an unsupported platform the import itself would fail.
    const { HalleyNode } = await import('./halley-node.js');
    let requestStop: (reason: string) => void = () => {};
    const stopRequested = new Promise<string>((resolve) => {
      requestStop = resolve;
    });
    const node = new HalleyNode(config, {
      onShutdownRequest: () => requestStop('the application'),
      onWaiting: (message) => io.err(message),
    });
    reload = () => void node.reloadTls();
    let signals = 0;
    io.onSignal((signal) => {
      signals += 1;
      requestStop(signal);
      if (signals === 2) io.err('stopping already; once more ends it at once');
    });
    const addresses = await node.start();
    const tookS = ((performance.now() - startedMs) / 1000).toFixed(2);
    io.out(
      `halley is ready in ${tookS} s: server id ${addresses.serverId}, ${addresses.bucketCount} bucket${addresses.bucketCount === 1 ? '' : 's'}`,
    );
    if (addresses.wsUrl !== '') io.out(`  WebSocket  ${addresses.wsUrl}`);
    if (addresses.wssUrl !== undefined && addresses.wssUrl !== addresses.wsUrl)
      io.out(`  with TLS   ${addresses.wssUrl}`);
    const { tcpUrl, tcpTlsUrl } = addresses;
    if (tcpUrl !== undefined) io.out(`  TCP        ${tcpUrl}`);
    if (tcpTlsUrl !== undefined) io.out(`  ${tcpUrl === undefined ? 'TCP      ' : 'with TLS '}  ${tcpTlsUrl}`);
    io.out(`  HTTP API   ${addresses.httpUrl}  (open it in a browser)`);
    if (config.auth.mode === 'open')
      io.out('  auth.mode = "open": every mid is believed; reachable from this machine only');
    const reason = await stopRequested;
    io.out(`halley is stopping (${reason})`);
    const clean = await node.stop();
    io.out(clean ? 'halley has stopped' : 'halley has stopped; what was left after shutdown.timeout_ms was cut off');
    // With a bucket that spins, process.exit() would abort the process in the middle of its sockets: only a signal ends it.
    if (node.hasStuckBucket) process.kill(process.pid, 'SIGKILL');
    return clean ? EXIT.OK : EXIT.TIMED_OUT;
  } catch (error) {
    io.err(error instanceof HalleyError ? `halley: ${error.message} [${error.code}]` : `halley: ${String(error)}`);
    if (error instanceof HalleyError && error.cause instanceof Error) io.err(`  caused by: ${error.cause.message}`);
    else if (error instanceof Error && !(error instanceof HalleyError)) io.err(error.stack ?? '');
    return EXIT.FAILED;
  }
}
