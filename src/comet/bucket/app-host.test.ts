import { describe, expect, it } from 'vitest';
import { OUTCOME, SEND_OUTCOME } from '../../errors/index.js';
import { type ChannelMap, type Channel as ChannelPort, PUSH_OUTCOME, type PushCommand } from '../../push/index.js';
import { AppHost } from './app-host.js';

/** An application module as a URL. */
const moduleOf = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;

function channelOf(id: string, answer: number = SEND_OUTCOME.SENT) {
  const pushed: unknown[] = [];
  const channel = {
    id: () => id,
    push: (payload: unknown, op: number) => {
      pushed.push([payload, op]);
      return answer;
    },
  } as unknown as ChannelPort;
  return { channel, pushed };
}

function setUp() {
  const seen: unknown[] = [];
  let draining = false;
  const host = new AppHost({
    bucket: 3,
    nextId: () => '77',
    publish: (command: PushCommand) => {
      seen.push(['publish', command.op]);
      return Promise.resolve(PUSH_OUTCOME.OK);
    },
    pushElsewhere: (key, op, body) => {
      seen.push(['elsewhere', key, op, new TextDecoder().decode(body)]);
      return OUTCOME.FULL;
    },
    requestShutdown: () => seen.push('shutdown'),
    onListenerError: (error, listener) => seen.push(`${listener}: ${(error as Error).message}`),
    isDraining: () => draining,
  });
  return {
    host,
    seen,
    drain: (isDraining: boolean) => {
      draining = isDraining;
    },
  };
}

describe('loading an application', () => {
  it("lets it install its listeners, with await where it likes; '' loads none", async () => {
    const { host } = setUp();
    await host.load('');
    expect(host.acceptor).toBeUndefined();
    await host.load(
      moduleOf(`export async function app(server) {
        await null;
        server.setAcceptor({ accept: () => ({ channelId: 'bucket ' + server.bucket() }) });
        server.setMessageListener({ receive: () => server.nextId() });
        server.setReadWait(5000);
      }`),
    );
    expect(await host.acceptor?.accept(undefined as never, 0)).toEqual({ channelId: 'bucket 3' });
    expect(host.messageListener?.receive(undefined as never, new Uint8Array(0), { op: 4, seq: 1, ver: 1 })).toBe('77');
    expect(host.readWaitMs).toBe(5_000);
  });

  it.each([
    ['is not there', '/no/such/app.mjs', 'APP_LOAD_FAILED'],
    ['has no app()', moduleOf('export const application = 1;'), 'APP_EXPORT_MISSING'],
    ['does not parse', moduleOf('export function app( {'), 'APP_LOAD_FAILED'],
  ])('that %s fails the start and says so', async (_, path, code) => {
    await expect(setUp().host.load(path)).rejects.toMatchObject({ code });
  });

  it('that throws fails the start with what it threw', async () => {
    await expect(setUp().host.load(moduleOf('export function app() { throw new Error("no"); }'))).rejects.toThrow('no');
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a read wait of %d', (readWaitMs) => {
    expect(() => setUp().host.setReadWait(readWaitMs)).toThrow(expect.objectContaining({ code: 'BAD_READ_WAIT' }));
  });
});

describe('the channel map', () => {
  it('has every channel from its accept to its end, and the state listener hears of the end after that', () => {
    const { host, seen } = setUp();
    host.setStateListener({ disconnect: (id) => void seen.push([id, host.channels().get(id)]) });
    const { channel } = channelOf('a');
    host.added(channel);
    expect([host.channels().get('a'), host.channels().all()]).toEqual([channel, [channel]]);
    host.removed(channel);
    expect(seen).toEqual([['a', undefined]]);
  });

  it('keeps the new channel of a key that was taken over in this bucket', () => {
    const { host } = setUp();
    const [old, fresh] = [channelOf('a').channel, channelOf('a').channel];
    host.added(old);
    host.added(fresh);
    host.removed(old);
    expect(host.channels().get('a')).toBe(fresh);
  });

  it("may be the application's own, and takes over what is connected", () => {
    const { host } = setUp();
    const [early, late] = [channelOf('early').channel, channelOf('late').channel];
    host.added(early);
    const added: string[] = [];
    const own: ChannelMap = {
      add: (channel) => void added.push(channel.id()),
      remove: () => {},
      get: () => undefined,
      all: () => [],
    };
    host.setChannelMap(own);
    host.added(late);
    expect([added, host.channels()]).toEqual([['early', 'late'], own]);
  });
});

describe('what the application throws', () => {
  it('goes to the counter and nowhere else, from the map and the listener, now or later', async () => {
    const { host, seen } = setUp();
    host.setChannelMap({
      add: () => {
        throw new Error('add');
      },
      remove: () => {},
      get: () => {
        throw new Error('get');
      },
      all: () => [],
    });
    host.setStateListener({ disconnect: () => Promise.reject(new Error('later')) });
    const { channel } = channelOf('a');
    host.added(channel);
    host.removed(channel);
    await Promise.resolve();
    expect(seen).toEqual(['channel map: add', 'channel map: get', 'state listener: later']);
  });
});

describe('while a ring is held', () => {
  it('nothing of the application runs; at the end all of it does, in order, whatever some of it throws', () => {
    const { host, seen, drain } = setUp();
    host.setStateListener({
      disconnect: (id) => {
        seen.push(id);
        throw new Error('listener');
      },
    });
    const [first, second] = [channelOf('a').channel, channelOf('b').channel];
    drain(true);
    host.added(first);
    host.added(second);
    host.removed(first);
    host.afterDrain(() => seen.push(host.channels().all().length));
    host.removed(second);
    expect([seen, host.channels().all()]).toEqual([[], []]);
    drain(false);
    host.runDeferred();
    expect(seen).toEqual(['a', 'state listener: listener', 1, 'b', 'state listener: listener']);
    host.runDeferred();
    expect(seen).toHaveLength(5);
  });

  it('what deferred code sets off runs in its turn, not twice', () => {
    const { host, seen, drain } = setUp();
    drain(true);
    host.afterDrain(() => {
      seen.push('first');
      host.afterDrain(() => seen.push('second'));
    });
    drain(false);
    host.runDeferred();
    expect(seen).toEqual(['first', 'second']);
  });
});

describe('the server as the application sees it', () => {
  it('pushes to a channel of this bucket directly, op 5 by default, and says what became of it', () => {
    const { host } = setUp();
    const outcomes = (
      [
        [SEND_OUTCOME.SENT, OUTCOME.OK],
        [SEND_OUTCOME.BUFFERED, OUTCOME.OK],
        [SEND_OUTCOME.DROPPED, OUTCOME.FULL],
        [SEND_OUTCOME.CLOSED, OUTCOME.CLOSED],
      ] as const
    ).map(([answer, expected]) => {
      const { channel, pushed } = channelOf('a', answer);
      host.added(channel);
      expect(host.push('a', 'text')).toBe(expected);
      return pushed;
    });
    expect(outcomes[0]).toEqual([['text', 5]]);
  });

  it('hands a push to anybody else to the node', () => {
    const { host, seen } = setUp();
    expect(host.push('elsewhere', 'text', 1000)).toBe(OUTCOME.FULL);
    host.push('elsewhere', new TextEncoder().encode('bytes'));
    expect(seen).toEqual([
      ['elsewhere', 'elsewhere', 1000, 'text'],
      ['elsewhere', 'elsewhere', 5, 'bytes'],
    ]);
  });

  it('publishes and shuts down through its bucket', async () => {
    const { host, seen } = setUp();
    const command: PushCommand = { target: { kind: 'all', speedPerSec: 0 }, op: 1000, body: new Uint8Array(0) };
    expect(await host.publish(command)).toBe(PUSH_OUTCOME.OK);
    host.shutdown();
    expect(seen).toEqual([['publish', 1000], 'shutdown']);
  });
});
