/**
 * The load processes of one run, as one: splits the connections over them and adds up what they counted.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { build as buildHistogram, decodeFromCompressedBase64, type Histogram } from 'hdr-histogram-js';
import type {
  ConnectAnswer,
  ConnectRequest,
  EchoAnswer,
  LoadAnswer,
  LoadRequest,
  LoadTally,
  NumberedAnswer,
  NumberedRequest,
} from '../load/load-commands.js';
import { messagesOfTarget } from '../wire/feed.js';

export interface FleetTally extends Omit<LoadTally, 'delays'> {
  /** Microseconds. */
  readonly delays: Histogram;
}

class LoadProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: LoadAnswer) => void; reject: (error: Error) => void }>();
  #lastId = 0;

  constructor(entry: URL) {
    this.#child = fork(entry, [], { execArgv: [] });
    this.#child.on('message', ({ id, answer }: NumberedAnswer) => {
      const waiter = this.#waiting.get(id);
      this.#waiting.delete(id);
      if ('error' in answer) waiter?.reject(new Error(`load client: ${answer.error}`));
      else waiter?.resolve(answer);
    });
    this.#child.once('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a load client died: exit=${code}`));
    });
  }

  ask(request: LoadRequest): Promise<LoadAnswer> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, request } satisfies NumberedRequest);
    });
  }

  stop(): void {
    this.#waiting.clear();
    this.#child.kill('SIGKILL');
  }
}

export class LoadFleet {
  readonly #processes: readonly LoadProcess[];
  readonly #connectionsPerClient: number;

  constructor(entry: URL, connectionCount: number, connectionsPerClient: number) {
    const processCount = Math.ceil(connectionCount / connectionsPerClient);
    this.#connectionsPerClient = connectionsPerClient;
    this.#processes = Array.from({ length: processCount }, () => new LoadProcess(entry));
  }

  /** Wait until every process answers, so that its start is not part of what is measured. */
  async started(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.ask({ kind: 'reset' })));
  }

  async connect(request: Omit<ConnectRequest, 'kind' | 'firstIndex'>): Promise<ConnectAnswer> {
    const answers = await Promise.all(
      this.#processes.map((process, index) => {
        const firstIndex = index * this.#connectionsPerClient;
        const connectionCount = Math.min(this.#connectionsPerClient, request.connectionCount - firstIndex);
        return process.ask({ ...request, kind: 'connect', firstIndex, connectionCount });
      }),
    );
    const connects = answers.flatMap((answer) => ('connect' in answer ? [answer.connect] : []));
    return {
      readyCount: sum(connects.map(({ readyCount }) => readyCount)),
      failedCount: sum(connects.map(({ failedCount }) => failedCount)),
      elapsedMs: Math.max(...connects.map(({ elapsedMs }) => elapsedMs)),
      firstError: connects.find(({ firstError }) => firstError !== undefined)?.firstError,
    };
  }

  async reset(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.ask({ kind: 'reset' })));
  }

  async heartbeat(spreadMs: number): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.ask({ kind: 'heartbeat', spreadMs })));
  }

  async echo(ratePerSec: number, messageCount: number): Promise<EchoAnswer> {
    const share = this.#processes.length;
    const answers = await Promise.all(
      this.#processes.map((process, index) => {
        const ownCount = messagesOfTarget(messageCount, share, index);
        return process.ask({ kind: 'echo', ratePerSec: ratePerSec / share, messageCount: ownCount });
      }),
    );
    const echoes = answers.flatMap((answer) => ('echo' in answer ? [answer.echo] : []));
    return {
      sentCount: sum(echoes.map(({ sentCount }) => sentCount)),
      maxLateMs: Math.max(...echoes.map(({ maxLateMs }) => maxLateMs)),
    };
  }

  async tally(withDelays: boolean): Promise<FleetTally> {
    const answers = await Promise.all(this.#processes.map((process) => process.ask({ kind: 'tally', withDelays })));
    const tallies = answers.flatMap((answer) => ('tally' in answer ? [answer.tally] : []));
    const delays = buildHistogram({ numberOfSignificantValueDigits: 3 });
    for (const tally of tallies) {
      if (tally.delays !== undefined) delays.add(decodeFromCompressedBase64(tally.delays));
    }
    const total = (field: (tally: LoadTally) => number): number => sum(tallies.map(field));
    return {
      receivedCount: total((tally) => tally.receivedCount),
      duplicateCount: total((tally) => tally.duplicateCount),
      backwardCount: total((tally) => tally.backwardCount),
      minPerConnection: Math.min(...tallies.map((tally) => tally.minPerConnection)),
      maxPerConnection: Math.max(...tallies.map((tally) => tally.maxPerConnection)),
      frameCount: total((tally) => tally.frameCount),
      readCount: total((tally) => tally.readCount),
      readBytes: total((tally) => tally.readBytes),
      closedCount: total((tally) => tally.closedCount),
      heartbeatReplyCount: total((tally) => tally.heartbeatReplyCount),
      cpuMs: total((tally) => tally.cpuMs),
      delays,
    };
  }

  stop(): void {
    for (const process of this.#processes) process.stop();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
