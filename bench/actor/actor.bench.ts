/**
 * What does a message between two threads cost, and how much of what postMessage costs is saved?
 *
 * Topology: the control thread sends, one worker thread receives; the clock stops when the receiver has counted all.
 * Message: {id, room, text, user, seq}, 5 fields, about 45 bytes as msgpack. Cores required: 2. Competitor: the same
 * object through worker_threads postMessage, to a worker whose handler does the same.
 */
import { Worker } from 'node:worker_threads';
import type { ChatMessage } from '../../src/actor/fixtures/bench-main.worker.js';
import { type ActorRef, ThreadPool } from '../../src/actor/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

declare const HALLEY_ROOT: string;
const FIXTURE = new URL('dist/actor/fixtures/bench-main.worker.js', HALLEY_ROOT);
const BATCH = 64;
/** Messages that may be on their way before the receiver is asked how far it is: a flood would measure queues. */
const MAX_IN_FLIGHT = 4096;

/** What the sink has counted: sums that are wrong when a message was lost, doubled or torn. */
interface Tally {
  readonly count: number;
  readonly seqSum: number;
  readonly textBytes: number;
}

/** One way to get messages across. */
interface Transport {
  /** Hand `messages` over, one by one or as the transport's name says. */
  tell(messages: readonly ChatMessage[]): void;
  /** What has arrived since the last call; answered behind everything told before. */
  take(): Promise<Tally>;
  ask(message: ChatMessage): Promise<number>;
}

function chat(seq: number): ChatMessage {
  return {
    id: 1_000_000 + seq,
    room: `live://${seq & 1023}`,
    text: `hello there, this is ${seq}`,
    user: seq & 0xffff,
    seq,
  };
}

function actorTransport(sink: ActorRef): Transport {
  const options = { timeoutMs: 30_000 };
  return {
    tell: (messages) => {
      for (const message of messages) if (sink.tell(message) !== 0) throw new Error('tell was refused');
    },
    take: () => sink.ask('take', options) as Promise<Tally>,
    ask: (message) => sink.ask({ echo: message }, options) as Promise<number>,
  };
}

function postMessageTransport(worker: Worker, asArray: boolean): Transport {
  const waiting = new Map<number, (seq: number) => void>();
  let onTally: (tally: Tally) => void = () => {};
  let lastId = 0;
  worker.removeAllListeners('message');
  worker.on('message', (answer: Tally | { id: number; seq: number }) => {
    if ('id' in answer) {
      const resolve = waiting.get(answer.id)!;
      waiting.delete(answer.id);
      resolve(answer.seq);
    } else onTally(answer);
  });
  return {
    tell: (messages) => {
      if (asArray) worker.postMessage(messages);
      else for (const message of messages) worker.postMessage(message);
    },
    take: () =>
      new Promise((resolve) => {
        onTally = resolve;
        worker.postMessage('take');
      }),
    ask: (message) =>
      new Promise((resolve) => {
        const id = ++lastId;
        waiting.set(id, resolve);
        worker.postMessage({ id, echo: message });
      }),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Send all of `turns`, one entry per turn of the event loop. Returns nanoseconds per message, all of them received. */
async function tellAll(transport: Transport, turns: readonly (readonly ChatMessage[])[]): Promise<number> {
  const total = { count: 0, seqSum: 0, textBytes: 0 };
  const turnsPerCheck = Math.ceil(MAX_IN_FLIGHT / turns[0]!.length);
  const startedNs = process.hrtime.bigint();
  for (let from = 0; from < turns.length; from += turnsPerCheck) {
    const end = Math.min(from + turnsPerCheck, turns.length);
    for (let index = from; index < end; index++) {
      transport.tell(turns[index]!);
      await turn();
    }
    const tally = await transport.take();
    total.count += tally.count;
    total.seqSum += tally.seqSum;
    total.textBytes += tally.textBytes;
  }
  const elapsedNs = Number(process.hrtime.bigint() - startedNs);
  const messages = turns.flat();
  let seqSum = 0;
  let textBytes = 0;
  for (const message of messages) {
    seqSum += message.seq;
    textBytes += message.text.length + message.room.length;
  }
  assertResult(total.count === messages.length, `${total.count} of ${messages.length} arrived`);
  assertResult(total.seqSum === seqSum && total.textBytes === textBytes, 'what arrived is what was sent');
  return elapsedNs / messages.length;
}

/** `count` round trips, `inFlight` at a time; every single one is timed. */
async function askAll(
  transport: Transport,
  count: number,
  inFlight: number,
): Promise<{ nsPerOp: number; ns: number[] }> {
  const ns: number[] = [];
  let next = 0;
  const startedNs = process.hrtime.bigint();
  const lane = async (): Promise<void> => {
    while (next < count) {
      const seq = next++;
      const askedNs = process.hrtime.bigint();
      const answer = await transport.ask(chat(seq));
      ns.push(Number(process.hrtime.bigint() - askedNs));
      if (answer !== seq) throw new Error(`asked ${seq}, answered ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const nsPerOp = Number(process.hrtime.bigint() - startedNs) / count;
  assertResult(ns.length === count, 'every question was answered');
  return { nsPerOp, ns: ns.sort((a, b) => a - b) };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function asRow(name: string, nsPerOp: number, note?: string): BenchRow {
  return { name, nsPerOp, opsPerSec: 1e9 / nsPerOp, ...(note === undefined ? {} : { note }) };
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const pool = await ThreadPool.start({
    workerCount: 1,
    module: FIXTURE.href,
    workerEntry: new URL('dist/actor/thread.worker.js', HALLEY_ROOT),
  });
  const sink = await pool.system.spawn({ module: FIXTURE.href, export: 'Sink', thread: 1 });
  const worker = new Worker(FIXTURE, { workerData: { halleyBench: 'postMessage' } });
  const actors = actorTransport(sink);
  const rows: BenchRow[] = [];
  const rounds = quick ? 3 : 9;

  for (const perTurn of [1, BATCH]) {
    const turnCount = Math.ceil((quick ? 20_000 : 100_000) / perTurn / (perTurn === 1 ? 4 : 1));
    const turns = Array.from({ length: turnCount }, (_, turnIndex) =>
      Array.from({ length: perTurn }, (_, index) => chat(turnIndex * perTurn + index)),
    );
    const variants: [string, () => Transport][] = [
      ['tell', () => actors],
      ['postMessage', () => postMessageTransport(worker, false)],
    ];
    if (perTurn > 1) variants.push(['postMessage of one array', () => postMessageTransport(worker, true)]);
    const ns = variants.map((): number[] => []);
    // Interleaved, so that a noisy moment of the machine meets all variants. The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const [index, [, transport]] of variants.entries()) {
        const nsPerOp = await tellAll(transport(), turns);
        if (round > 0) ns[index]!.push(nsPerOp);
      }
    }
    const tellNs = median(ns[0]!);
    for (const [index, [name]] of variants.entries()) {
      const nsPerOp = median(ns[index]!);
      const note = index === 0 ? undefined : `tell is ${(nsPerOp / tellNs).toFixed(1)}x`;
      rows.push(asRow(`${name}, ${perTurn} per turn`, nsPerOp, note));
    }
  }

  for (const inFlight of [1, BATCH]) {
    const count = (quick ? 2_000 : 10_000) * (inFlight === 1 ? 1 : 4);
    const posted = postMessageTransport(worker, false);
    await askAll(actors, 1_000, inFlight);
    await askAll(posted, 1_000, inFlight);
    const asked = await askAll(actors, count, inFlight);
    const roundTrip = await askAll(posted, count, inFlight);
    for (const [name, result] of [
      ['ask', asked],
      ['postMessage round trip', roundTrip],
    ] as const) {
      rows.push({
        ...asRow(`${name}, ${inFlight} in flight`, result.nsPerOp),
        p50Ns: result.ns[Math.floor(count / 2)]!,
        p99Ns: result.ns[Math.floor(count * 0.99)]!,
        ...(name === 'ask' ? {} : { note: `ask is ${(result.nsPerOp / asked.nsPerOp).toFixed(1)}x` }),
      });
    }
  }

  await worker.terminate();
  await pool.stop(10_000);
  return {
    title: 'actor: a message to another thread',
    topology:
      'control thread -> 1 worker; {id, room, text, user, seq}, 45 B as msgpack; cores 2; against worker_threads postMessage',
    rows,
  };
}
