/**
 * `halley push`: one message to rooms, device keys, users or everyone.
 *
 * Guarantees: exit code 0 means that the node took it; with --durable, in a cluster, that Redis has it. Sent once: after "no
 *   answer in time" only --id makes a second try safe.
 */
import { z } from 'zod';
import {
  encodePushCommand,
  PUSH_LIMITS,
  type PushCommand,
  type PushTarget,
  validatePushCommand,
} from '../protocol/index.js';
import { refused } from './http-client.js';
import type { OperatorCommand, OperatorInput } from './operator-command.js';
import { midOf, misuse, type OperatorFlags } from './operator-flags.js';
import { printable } from './text-table.js';

const HELP = `Usage: halley push TARGET --op N BODY [options]
Pushes one message. TARGET is one of these; rooms, keys and mids may be repeated:
  --room type://id         members of the room
  --key KEY                the device with this key
  --mid N                  all devices of this user
  --all [--speed N]        everyone, at most N channels per second
BODY is an argument, - for standard input, or
  --file PATH              the bytes of a file
Options:
  --op N                   operation that clients see; applications use 1000 and up
  --durable                through the durable queue: answered when Redis has it (a node alone: through its own queue)
  --id ID                  id of this push, with --durable: the same push again is delivered once, in stream.once_window_s
`;

const TARGET_FLAGS = ['room', 'key', 'mid', 'all'] as const;
const INT32_MAX = 0x7fff_ffff;
const OP_RANGE = [-INT32_MAX - 1, INT32_MAX] as const;
const SPEED_RANGE = [1, INT32_MAX] as const;
/** Visible ASCII that can stand in a header, with room for what the server adds. */
const MESSAGE_ID = /^[\x21-\x7e]{1,120}$/;
const MESSAGE_ID_HEADER = 'Halley-Message-Id';

const ROWS = z.tuple([z.looseObject({ code: z.number(), message: z.string() })]);

interface BodySource {
  readonly text?: string;
  readonly path?: string;
}

/** The target as members of the envelope. */
function readTarget(flags: OperatorFlags): Readonly<Record<string, unknown>> {
  const given = TARGET_FLAGS.filter((name) => flags.has(name));
  const [name] = given;
  if (name === undefined || given.length > 1) {
    throw misuse('a push goes to exactly one of --room, --key, --mid and --all, the first three may be repeated', {
      given: given.map((one) => `--${one}`).join(' ') || 'none',
    });
  }
  if (flags.has('speed') && name !== 'all') throw misuse('--speed goes with --all only');
  switch (name) {
    case 'room':
      return { rooms: flags.texts('room') };
    case 'key':
      return { keys: flags.texts('key') };
    case 'mid':
      return { mids: flags.texts('mid').map(midOf) };
    case 'all':
      return { all: true };
  }
}

/** Everything but the body. What the server would refuse is refused here, so that it is a matter of usage and not of the node. */
function readCommand(flags: OperatorFlags): PushCommand {
  const target = readTarget(flags);
  const op = flags.integer('op', OP_RANGE);
  if (op === undefined || op === 0) throw misuse('--op must be given and not 0, applications use 1000 and up');
  const speed = flags.integer('speed', SPEED_RANGE) ?? 0;
  const command = validatePushCommand({ ...target, op, speed, body: '' }, PUSH_LIMITS);
  if (!command.ok) throw misuse(command.error);
  return command.value;
}

function readSource(flags: OperatorFlags): BodySource {
  const [text, ...rest] = flags.words;
  const path = flags.text('file');
  if (rest.length > 0) {
    throw misuse('one message at a time, quote a body that has blanks', { argument: rest[0] as string });
  }
  if (text !== undefined && path !== undefined) throw misuse('the body is an argument or --file, not both');
  if (text === undefined && path === undefined) throw misuse('say what to push: an argument, --file PATH, or -');
  return { ...(text === undefined ? {} : { text }), ...(path === undefined ? {} : { path }) };
}

function readBody({ text, path }: BodySource, input: OperatorInput): Promise<Uint8Array> | Uint8Array {
  if (path !== undefined) {
    try {
      return input.readFile(path);
    } catch (error) {
      throw misuse(`the file cannot be read, ${error instanceof Error ? error.message : String(error)}`, {
        file: path,
      });
    }
  }
  return text === '-' ? input.readStdin() : Buffer.from(text ?? '');
}

function nameOf(target: PushTarget): string {
  switch (target.kind) {
    case 'rooms':
      return `room ${target.rooms.join(', ')}`;
    case 'keys':
      return `key ${target.keys.join(', ')}`;
    case 'mids':
      return `mid ${target.mids.join(', ')}`;
    case 'all':
      return 'everyone';
  }
}

export const PUSH_COMMAND: OperatorCommand = {
  name: 'push',
  summary: 'push a message to rooms, device keys, users or everyone',
  help: HELP,
  options: {
    room: { type: 'string', multiple: true },
    key: { type: 'string', multiple: true },
    mid: { type: 'string', multiple: true },
    all: { type: 'boolean' },
    speed: { type: 'string' },
    op: { type: 'string' },
    file: { type: 'string' },
    durable: { type: 'boolean' },
    id: { type: 'string' },
  },
  prepare: (flags) => {
    const command = readCommand(flags);
    const isDurable = flags.has('durable');
    const id = flags.text('id');
    if (id !== undefined && !isDurable) throw misuse('--id goes with --durable: other pushes are not remembered');
    if (id !== undefined && !MESSAGE_ID.test(id))
      throw misuse('--id must be 1 to 120 visible ASCII characters', { id });
    const source = readSource(flags);

    return async (api, input) => {
      const body = await readBody(source, input);
      const [row] = await api.post(
        `/halley/push/batch${isDurable ? '?durable=true' : ''}`,
        {
          mediaType: 'application/msgpack',
          bytes: encodePushCommand('msgpack', { ...command, body }),
          ...(id === undefined ? {} : { headers: { [MESSAGE_ID_HEADER]: id } }),
        },
        ROWS,
      );
      if (row.code !== 0) throw refused(row.message, { url: api.url, code: row.code });
      const done = isDurable ? 'accepted by the queue, to' : 'pushed to';
      return {
        text: `${done} ${printable(nameOf(command.target))}: op=${command.op} bytes=${body.byteLength}\n`,
        data: [row],
      };
    };
  },
};
