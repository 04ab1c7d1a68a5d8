/**
 * redis-cluster-redirects: commands that a master of a Redis Cluster sent elsewhere (MOVED, ASK) or asked to send again (TRYAGAIN),
 * while the rest of their pipeline went through. ioredis repeats a pipeline only where all of it failed in one way, so that of a
 * turn's commands those for a slot on its way to another master would fail for their callers; and it refuses a whole pipeline,
 * unsent, where its commands went to one master when they were queued and to two when they are to leave.
 *
 * Threads: control thread only.
 * Guarantees: only what was refused before it was carried out is sent again, alone, in the order in which it stood. The answers of
 *   a pipeline come when all of it has one; ioredis holds the next pipeline to the same master back until then, so nothing
 *   overtakes. What a redirection does not mend within ioredis' bounds (16 of them) fails as it came. Every failure that may mean
 *   another owner of the slot makes the client ask who owns what.
 */
import { type Cluster, Command } from 'ioredis';

type PipelineResult = [error: Error | null, value?: unknown];

/** What ioredis has and does not declare. */
interface QueuedCommand {
  readonly name: string;
  readonly args: readonly (string | Buffer | number)[];
  readonly replyEncoding: BufferEncoding | null;
  /** Sent for the protocol's sake (ASKING): it has no result. */
  readonly ignore?: boolean;
}
interface PipelineInside {
  resolve: (results: readonly PipelineResult[]) => void;
  reject: (error: unknown) => void;
  readonly _queue: readonly QueuedCommand[];
  /** Scripts by their hash. A master that a command is sent on to may not know its script. */
  readonly _shaToScript: Readonly<Record<string, { readonly lua: string }>>;
}

function isRedirection(error: Error | null): boolean {
  return error !== null && /^(MOVED|ASK|TRYAGAIN) /.test(error.message);
}

/** The slot may have another owner by now. */
function isOwnerInDoubt(error: Error | null): boolean {
  return error !== null && /^(MOVED |CLUSTERDOWN |Connection is closed)/.test(error.message);
}

/** Nothing of the pipeline was sent. */
function isTornApart(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('All keys in the pipeline should belong to the same slots');
}

/** Of every pipeline of this client, the automatic ones included. */
export function followRedirects(client: Cluster): void {
  const plain = client.pipeline.bind(client);
  client.pipeline = (...args) => {
    const pipeline = plain(...args);
    const inside = pipeline as unknown as PipelineInside;
    const { resolve, reject } = inside;
    inside.reject = (error) => {
      if (isTornApart(error))
        void Promise.all(withResult(inside).map((command) => again(client, command, inside))).then(resolve);
      else reject(error);
    };
    inside.resolve = (results) => {
      // The usual case costs a look at each result.
      if (results.some(([error]) => isOwnerInDoubt(error))) client.refreshSlotsCache();
      if (!results.some(([error]) => isRedirection(error))) {
        resolve(results);
        return;
      }
      const commands = withResult(inside);
      const mended = results.map((result, index) => {
        const command = commands[index];
        return isRedirection(result[0]) && command !== undefined ? again(client, command, inside) : result;
      });
      void Promise.all(mended).then(resolve);
    };
    return pipeline;
  };
}

/** The commands that have results, in their order. */
function withResult({ _queue }: PipelineInside): readonly QueuedCommand[] {
  return _queue.filter(({ ignore }) => ignore !== true);
}

/** Never rejects. */
async function again(
  client: Cluster,
  command: QueuedCommand,
  { _shaToScript }: PipelineInside,
): Promise<PipelineResult> {
  const { name, args, replyEncoding } = command;
  const script = name === 'evalsha' ? _shaToScript[String(args[0])] : undefined;
  const repeated =
    script === undefined
      ? new Command(name, [...args], { replyEncoding })
      : new Command('eval', [script.lua, ...args.slice(1)], { replyEncoding });
  try {
    return [null, await client.sendCommand(repeated)];
  } catch (error) {
    return [error instanceof Error ? error : new Error(String(error))];
  }
}
