/**
 * The shipped bundle in one page of a real browser, over every door that a browser can use: auth, rooms, pushes, a cut network,
 * takeover, a drain.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cutter, startCutter } from '../client/cutter.js';
import { launchChromium, type ServedPage, servePage } from '../kit/chromium.js';
import { eventually, post } from '../kit/index.js';
import { APP_OP, fresh, numbered, PUSH_OP, push, pushBatch, startDoorNode, type TestNode } from './door-node.js';

const ALL_OP = 1500;
const WINDOW_MS = 1_000;
/** `few://` rooms of the node keep so many messages. */
const FEW_COUNT = 5;
/** Every event of a client goes into its log; clients have names. */
const PAGE = `<!doctype html><script type="module">
  import { HalleyClient, longPollTransport, sseTransport, webSocketTransport } from '/halley-client.js';
  const transports = { websocket: webSocketTransport, sse: sseTransport, 'long-poll': longPollTransport };
  window.clients = {};
  window.start = (name, transport, options) => {
    const log = [];
    const client = new HalleyClient({
      transports: [transports[transport]()], backoff: { baseMs: 50, capMs: 200 }, ...options,
    });
    for (const event of ['open', 'close', 'gap', 'recovered', 'reconnecting']) {
      client.on(event, (value) => log.push({ event, ...value }));
    }
    client.on('message', ({ op, body, scope, room, offset }) => {
      log.push({ event: 'message', op, text: body.text(), scope, room, offset });
    });
    clients[name] = { client, log };
    return client.connect();
  };
</script>`;

/** Transport of the SDK, and whether through TLS. */
const WAYS = [
  ['ws', 'websocket', false],
  ['wss', 'websocket', true],
  ['sse', 'sse', false],
  ['sse over https', 'sse', true],
  ['poll', 'long-poll', false],
  ['poll over https', 'long-poll', true],
] as const;

interface LogEntry {
  readonly event: string;
  readonly [member: string]: unknown;
}

let browser: Browser;
let page: Page;
let served: ServedPage;
let node: TestNode;
/** In front of the plain and of the TLS port. */
let cutters: readonly Cutter[] = [];

beforeAll(async () => {
  browser = await launchChromium();
  served = await servePage(PAGE);
  node = await startDoorNode({ HALLEY_RECONNECT_WINDOW_MS: String(WINDOW_MS) });
  cutters = await Promise.all([node.wsUrl, node.wssUrl].map((url) => startCutter(Number(new URL(url).port))));
  // The page trusts the test's authority no more than a browser would.
  page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await page.goto(served.url);
  await page.waitForFunction('window.start !== undefined');
});
afterAll(async () => {
  await browser?.close();
  served?.close();
  for (const cutter of cutters) await cutter.close();
  expect(await node?.stop()).toBe(0);
});

function cutterOf(isSecure: boolean): Cutter {
  return cutters[isSecure ? 1 : 0]!;
}

async function start(name: string, transport: string, isSecure: boolean, options: object): Promise<void> {
  const { port } = cutterOf(isSecure);
  const nodes = [`${isSecure ? 'wss' : 'ws'}://127.0.0.1:${port}/sub`];
  const settings = { nodes, mid: 1, key: name, ...options };
  await page.evaluate(`start(${JSON.stringify(name)}, ${JSON.stringify(transport)}, ${JSON.stringify(settings)})`);
}

async function logOf(name: string, event?: string): Promise<LogEntry[]> {
  const log = (await page.evaluate(`clients[${JSON.stringify(name)}].log`)) as LogEntry[];
  return event === undefined ? log : log.filter((entry) => entry.event === event);
}

/** The entries of `event` once there are so many. */
function logged(name: string, event: string, count = 1): Promise<LogEntry[]> {
  return eventually(
    async () => {
      const entries = await logOf(name, event);
      return entries.length >= count ? entries : undefined;
    },
    15_000,
    `${name}: ${count} times ${event}`,
  );
}

function call(name: string, expression: string): Promise<unknown> {
  return page.evaluate(`(({ client }) => ${expression})(clients[${JSON.stringify(name)}])`);
}

describe.each(WAYS)('over %s', (way, transport, isSecure) => {
  it('a client is accepted, joins and leaves, asks, and gets all four pushes once and in order', async () => {
    const [name, room] = [fresh('page'), fresh('page')];
    await start(name, transport, isSecure, { mid: 40, room: `live://${room}`, ops: [PUSH_OP, ALL_OP] });
    expect(await logOf(name)).toMatchObject([{ event: 'open', transport, isReconnect: false, key: name }]);
    expect(await call(name, `client.join('chat://${room}')`)).toMatchObject([{ room: `chat://${room}`, offset: 0 }]);
    expect(await call(name, `client.request(${APP_OP.ECHO}, 'up').then(({ body }) => body.text())`)).toBe('up');
    await push(node, 'keys', `keys=${name}`, 'by key');
    await push(node, 'mids', 'mids=40', 'by mid');
    await push(node, 'all', 'speed=0', 'to all', ALL_OP);
    const bodies = numbered('m', 200);
    await pushBatch(
      node,
      bodies.map((body, n) => ({ room: `${n % 2 === 0 ? 'live' : 'chat'}://${room}`, op: PUSH_OP, body })),
    );
    const messages = await logged(name, 'message', 203);
    expect(messages).toHaveLength(203);
    const ofRoom = (type: string) => messages.filter((message) => message['room'] === `${type}://${room}`);
    for (const [rest, type] of ['live', 'chat'].entries()) {
      expect(ofRoom(type).map(({ text }) => text)).toEqual(bodies.filter((_, n) => n % 2 === rest));
      expect(ofRoom(type).map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    }
    const others = messages.filter((message) => message['room'] === undefined);
    expect(new Set(others.map(({ scope, text }) => `${scope}: ${text}`))).toEqual(
      new Set(['direct: by key', 'direct: by mid', 'all: to all']),
    );
    await call(name, `client.leave('chat://${room}')`);
    await push(node, 'room', `type=chat&room=${room}`, 'to nobody');
    await push(node, 'room', `type=live&room=${room}`, 'the end');
    expect((await logged(name, 'message', 204)).at(-1)).toMatchObject({ text: 'the end' });
    expect(await logOf(name, 'gap')).toEqual([]);
    await call(name, 'client.close()');
  });

  it('a client whose network is cut gets what it missed, and is told what nobody has any more', async () => {
    const [name, id] = [fresh('cut'), fresh('cut')];
    const [kept, few] = [`kept://${id}`, `few://${id}`];
    await start(name, transport, isSecure, { rooms: [kept, few] });
    const command = (room: string) => (body: string) => ({ room, op: PUSH_OP, body });
    await pushBatch(node, [command(kept)('m0'), command(few)('f0')]);
    await logged(name, 'message', 2);
    const cutter = cutterOf(isSecure);
    cutter.refuse();
    // A fallback's session would outlive the cut, and miss nothing.
    await post(`${node.httpUrl}/halley/disconnect`, { keys: [name], code: 3000, reconnect: true });
    await pushBatch(node, numbered('m', 30).slice(1).map(command(kept)));
    await pushBatch(
      node,
      numbered('f', 3 * FEW_COUNT)
        .slice(1)
        .map(command(few)),
    );
    cutter.accept();
    const messages = await logged(name, 'message', 31);
    const textsOf = (room: string) =>
      messages.filter((message) => message['room'] === room).map((message) => message['text']);
    expect([textsOf(kept), textsOf(few)]).toEqual([numbered('m', 30), ['f0']]);
    expect(await logged(name, 'recovered')).toMatchObject([{ room: kept, messageCount: 29, to: 30 }]);
    // Whatever was pushed to its key or to all it cannot know either, and is told.
    const gaps = await logged(name, 'gap');
    expect(gaps.filter(({ scope }) => scope === 'room')).toMatchObject([{ room: few, from: 2, to: 3 * FEW_COUNT }]);
    await pushBatch(node, [command(few)('afterwards')]);
    expect((await logged(name, 'message', 32)).at(-1)).toMatchObject({ text: 'afterwards', room: few });
    await call(name, 'client.close()');
  });

  it('a client is taken over by one on another way, is told, and stays away', async () => {
    const at = WAYS.findIndex(([other]) => other === way);
    const [, nextTransport, isNextSecure] = WAYS[(at + 1) % WAYS.length]!;
    const [key, old, successor] = [fresh('shared'), fresh('old'), fresh('successor')];
    await start(old, transport, isSecure, { key });
    await start(successor, nextTransport, isNextSecure, { key, ops: [PUSH_OP] });
    expect(await logged(old, 'close')).toMatchObject([{ code: 3500, willReconnect: false }]);
    await push(node, 'keys', `keys=${key}`, 'to whoever has the key');
    expect(await logged(successor, 'message')).toMatchObject([{ text: 'to whoever has the key' }]);
    expect(await call(old, 'client.state')).toBe('closed');
    expect(await logOf(old, 'message')).toEqual([]);
    await call(successor, 'client.close()');
  });
});

it('clients on all ways hear of a drain, wait within its window, and come back', async () => {
  const names = WAYS.map(() => fresh('drained'));
  for (const [index, [, transport, isSecure]] of WAYS.entries()) {
    await start(names[index]!, transport, isSecure, { room: 'kept://drained' });
  }
  const answer = await post(`${node.httpUrl}/halley/node/drain`, { drain: true, move_over_ms: 200 });
  expect(answer.data).toMatchObject({ draining: true, moving: WAYS.length });
  for (const name of names) {
    expect(await logged(name, 'close')).toMatchObject([{ code: 3000, reason: 'shutdown', willReconnect: true }]);
    const [waited] = await logged(name, 'reconnecting');
    expect(waited).toMatchObject({ attemptCount: 1, code: 3000, delayMs: expect.any(Number) });
    expect(waited!['delayMs']).toBeLessThanOrEqual(WINDOW_MS);
    expect((await logged(name, 'open', 2))[1]).toMatchObject({ isReconnect: true });
  }
  await push(node, 'room', 'type=kept&room=drained', 'after the move');
  for (const name of names) {
    expect(await logged(name, 'message')).toMatchObject([{ text: 'after the move' }]);
    await call(name, 'client.close()');
  }
});
