/**
 * The load processes of one run, as one: splits the connections over them and adds up what they counted.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { messagesOfTarget } from '../wire/feed.js';
import { DelayHistogram } from './delay-histogram.js';
import type {
  ConnectAnswer,
  ConnectRequest,
  EchoAnswer,
  LoadAnswer,
  LoadRequest,
  LoadTally,
  NumberedAnswer,
  NumberedRequest,
} from './load-commands.js';

export interface FleetTally extends Omit<LoadTally, 'delays'> {
  readonly delays: DelayHistogram;
}

/** Where the connections of one node go. */
export type LoadTarget = Pick<ConnectRequest, 'host' | 'port' | 'path' | 'dialect'>;

export interface LoadFleetOptions {
  /** The compiled load-client.main. */
  readonly entry: URL;
  readonly nodeCount: number;
  readonly connectionsPerNode: number;
  /** Connections of one process; its descriptors bound it. */
  readonly connectionsPerClient: number;
  /** Index of the first connection: keys, mids and rooms follow from it, so two fleets of one server must differ. */
  readonly firstIndex: number;
}

class LoadProcess {
  readonly node: number;
  readonly firstIndex: number;
  readonly connectionCount: number;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: LoadAnswer) => void; reject: (error: Error) => void }>();
  #lastId = 0;

  constructor(entry: URL, node: number, firstIndex: number, connectionCount: number) {
    this.node = node;
    this.firstIndex = firstIndex;
    this.connectionCount = connectionCount;
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

  constructor({ entry, nodeCount, connectionsPerNode, connectionsPerClient, firstIndex }: LoadFleetOptions) {
    const processes: LoadProcess[] = [];
    for (let node = 0; node < nodeCount; node++) {
      for (let taken = 0; taken < connectionsPerNode; taken += connectionsPerClient) {
        const count = Math.min(connectionsPerClient, connectionsPerNode - taken);
        processes.push(new LoadProcess(entry, node, firstIndex + node * connectionsPerNode + taken, count));
      }
    }
    this.#processes = processes;
  }

  /** Wait until every process answers, so that its start is not part of what is measured. */
  async started(): Promise<void> {
    await this.reset();
  }

  /** Open everything at once. @param targets one per node */
  async connect(
    targets: readonly LoadTarget[],
    request: Omit<ConnectRequest, 'kind' | 'firstIndex' | 'connectionCount' | keyof LoadTarget>,
  ): Promise<ConnectAnswer> {
    const answers = await Promise.all(
      this.#processes.map((process) => {
        const { node, firstIndex, connectionCount } = process;
        const { host, port, path, dialect } = targets[node]!;
        return process.ask({ ...request, kind: 'connect', host, port, path, dialect, firstIndex, connectionCount });
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

  /** Room changes at `ratePerSec` in all; resolves when all were answered. */
  async churn(ratePerSec: number, changeCount: number, roomCount: number): Promise<void> {
    const share = this.#processes.length;
    await Promise.all(
      this.#processes.map((process, index) =>
        process.ask({
          kind: 'churn',
          ratePerSec: ratePerSec / share,
          changeCount: messagesOfTarget(changeCount, share, index),
          roomCount,
        }),
      ),
    );
  }

  async tally(withDelays: boolean): Promise<FleetTally> {
    const answers = await Promise.all(this.#processes.map((process) => process.ask({ kind: 'tally', withDelays })));
    const tallies = answers.flatMap((answer) => ('tally' in answer ? [answer.tally] : []));
    const delays = new DelayHistogram();
    for (const tally of tallies) {
      if (tally.delays !== undefined) delays.add(tally.delays);
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
