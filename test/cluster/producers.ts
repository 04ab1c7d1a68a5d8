/**
 * Every door through which a push enters a cluster, with one face: `send` resolves when the door has taken the push, and calls
 * follow one another.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Cluster, Redis } from 'ioredis';
import { pack } from 'msgpackr';
import { eventually, type HalleyProcess, post, runHalley } from '../kit/index.js';

export type Target =
  | { readonly keys: readonly string[] }
  | { readonly mids: readonly number[] }
  | { readonly room: string }
  | { readonly all: true };

export interface Producer {
  readonly name: string;
  /** Rounds that it is given where it is too slow for as many as the others. */
  readonly maxRounds?: number;
  send(target: Target, body: string): Promise<void>;
  close(): Promise<void>;
}

export const PUSH_OP = 1000;

/** What a producer does with 503: nobody got the push, so it is sent again. Any other refusal fails the test. */
async function pushed(
  door: string,
  send: () => Promise<{ readonly status: number; readonly code: number; readonly message: string }>,
) {
  await eventually(
    async () => {
      const answer = await send();
      if (answer.code !== -503 && (answer.status !== 200 || answer.code !== 0)) {
        throw new Error(`${door} refused: ${answer.status} ${answer.code} ${answer.message}`);
      }
      return answer.code === 0;
    },
    10_000,
    `a push by ${door}`,
  );
}

/** `redis-cli`, one process that is told PUBLISH after PUBLISH, as a shell script would. */
export function redisCli(port: number, prefix: string, isCluster = false): Producer {
  const child = spawn('redis-cli', ['-p', String(port), ...(isCluster ? ['-c'] : [])], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let replies = '';
  let onReply: (() => void) | undefined;
  child.stdout.on('data', (chunk: Buffer) => {
    replies += chunk.toString();
    onReply?.();
  });
  return {
    name: 'redis-cli',
    send: async (target, body) => {
      const json = JSON.stringify({ ...target, op: PUSH_OP, body });
      child.stdin.write(`PUBLISH ${prefix}:push ${JSON.stringify(json)}\n`);
      while (!replies.includes('\n')) {
        await new Promise<void>((resolve) => {
          onReply = resolve;
        });
      }
      const end = replies.indexOf('\n');
      const reply = replies.slice(0, end);
      replies = replies.slice(end + 1);
      if (!/^(\(integer\) )?\d+$/.test(reply)) throw new Error(`redis-cli: ${reply}`);
    },
    close: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

/** MessagePack by a client library. */
export function msgpackPublisher(client: Redis | Cluster, prefix: string): Producer {
  return {
    name: 'msgpack',
    send: async (target, body) => {
      await client.publish(`${prefix}:push`, pack({ ...target, op: PUSH_OP, body: Buffer.from(body) }));
    },
    close: async () => {
      client.disconnect();
    },
  };
}

/** goim's routes: durable in a cluster. */
export function goimRoutes({ httpUrl }: HalleyProcess, name: string): Producer {
  return {
    name,
    send: async (target, body) => {
      const query = new URLSearchParams({ operation: String(PUSH_OP) });
      let route = 'all';
      if ('keys' in target) {
        route = 'keys';
        for (const key of target.keys) query.append('keys', key);
      } else if ('mids' in target) {
        route = 'mids';
        for (const mid of target.mids) query.append('mids', String(mid));
      } else if ('room' in target) {
        route = 'room';
        const [type = '', room = ''] = target.room.split('://');
        query.append('type', type);
        query.append('room', room);
      }
      const id = randomUUID();
      await pushed(name, () => post(`${httpUrl}/goim/push/${route}?${query}`, body, { 'halley-message-id': id }));
    },
    close: async () => {},
  };
}

/** `/halley/push/batch`: direct. */
export function batchRoute({ httpUrl }: HalleyProcess, name: string): Producer {
  return {
    name,
    send: async (target, body) => {
      await pushed(name, async () => {
        const answer = await post(`${httpUrl}/halley/push/batch`, { ...target, op: PUSH_OP, body });
        const [row] = (answer.data ?? []) as { code: number; message: string }[];
        return row === undefined ? answer : { status: answer.status, ...row };
      });
    },
    close: async () => {},
  };
}

/** `halley push`, a process for each push. */
export function halleyCli({ httpUrl }: HalleyProcess, name: string, isDurable: boolean): Producer {
  const wordsOf = (target: Target): readonly string[] => {
    if ('keys' in target) return target.keys.flatMap((key) => ['--key', key]);
    if ('mids' in target) return target.mids.flatMap((mid) => ['--mid', String(mid)]);
    return 'room' in target ? ['--room', target.room] : ['--all'];
  };
  return {
    name,
    maxRounds: 4,
    send: async (target, body) => {
      const durable = isDurable ? ['--durable', '--id', randomUUID()] : [];
      await eventually(
        async () => {
          const api = ['--op', String(PUSH_OP), ...durable, '--url', httpUrl];
          const { code, stdout, stderr } = await runHalley(['push', ...wordsOf(target), ...api, body]);
          if (code !== 0 && !stderr.includes('-503')) throw new Error(`${name}: ${code} ${stdout} ${stderr}`);
          return code === 0;
        },
        10_000,
        `a push by ${name}`,
      );
    },
    close: async () => {},
  };
}
