/**
 * page: the first page of a node. It connects with Halley's own codec, joins rooms, shows what arrives, and pushes.
 *
 * Runs in browsers only; scripts/build.mjs bundles it to dist/page/page.js, and nothing else imports this folder. It uses
 * protocol/, errors/ and clock/, no framework, and nothing from another origin, so that the policy of its server can be
 * `default-src 'self'`.
 *
 * | what | file |
 * |---|---|
 * | the connection: state machine, status, rooms on the wire | connection.ts, connection-status.ts, membership.ts |
 * | what it is made of | frame.ts, room-table.ts, backoff.ts, socket.port.ts |
 * | numbers and lines | rates.ts, message-log.ts, message-text.ts, status-text.ts |
 * | what the forms say | settings.ts, push-request.ts |
 * | everything that needs a browser | screen/ |
 *
 * Everything that arrives goes into `Rates`, `MessageLog` and the room table, at any rate; the screen is written from there
 * once per animation frame. What stands beside this file knows no DOM (tsconfig.test.json compiles it without one) and has
 * its tests beside it; test/page.test.ts runs the page in a browser.
 */
import { systemClock } from '../clock/index.js';
import { Connection } from './connection.js';
import type { ConnectionListener, ConnectionStatus } from './connection-status.js';
import type { InboundMessage } from './frame.js';
import { LOG_LINES_COUNT, type LogLine, MessageLog } from './message-log.js';
import { Rates } from './rates.js';
import { openBrowserSocket, scheduleInBrowser } from './screen/browser-socket.js';
import { ConnectionForm } from './screen/connection-form.js';
import { claimDeviceKey } from './screen/device-key.js';
import { element, setText } from './screen/elements.js';
import { findWebSocketUrl } from './screen/http-api.js';
import { LogView } from './screen/log-view.js';
import { NumbersView } from './screen/numbers-view.js';
import { PushForm } from './screen/push-form.js';
import { RoomsView } from './screen/rooms-view.js';
import type { ConnectSettings } from './settings.js';
import { endText, statusText } from './status-text.js';

/** The rate falls by itself when nothing arrives. */
const NUMBERS_EVERY_MS = 250;

const SCOPE_TEXT = { room: '', direct: 'direct', all: 'all', unknown: '' } as const;

class Page implements ConnectionListener {
  readonly #rates = new Rates(systemClock);
  readonly #log = new MessageLog();
  readonly #numbers = new NumbersView();
  readonly #logView = new LogView(this.#log, () => this.#requestFrame());
  readonly #pushForm = new PushForm();
  readonly #connection = new Connection(
    { openSocket: openBrowserSocket, clock: systemClock, schedule: scheduleInBrowser, random: Math.random },
    this,
  );
  readonly #connectionForm = new ConnectionForm(
    (settings) => this.#connect(settings),
    () => this.#connection.disconnect(),
  );
  readonly #roomsView = new RoomsView((room) => this.#connection.leave(room));
  readonly #joinRoom = element('join-room', HTMLInputElement);
  readonly #joinButton = element('join', HTMLButtonElement);
  readonly #joinLabel = element('join-label', HTMLSpanElement);
  #memberCount: number | undefined;
  #isFrameRequested = false;
  #areRoomsChanged = false;

  async start(): Promise<void> {
    element('join-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.#join();
    });
    document.addEventListener('visibilitychange', () => this.#connection.setVisible(!document.hidden));
    window.addEventListener('online', () => this.#connection.retryNow());
    window.setInterval(() => this.#showNumbers(), NUMBERS_EVERY_MS);
    const [url, key] = await Promise.all([findWebSocketUrl(location), claimDeviceKey()]);
    this.#connectionForm.fill(url, key);
    const settings = this.#connectionForm.read();
    if (settings !== undefined) this.#connect(settings);
  }

  statusChanged(status: ConnectionStatus): void {
    this.#connectionForm.show(status, statusText(status));
    this.#joinButton.disabled = status.phase !== 'online';
    if (status.phase === 'online') this.#note('event', 0, 'online');
    if (status.phase === 'waiting' || status.phase === 'closed')
      this.#note('event', 0, `closed: ${endText(status.end)}`);
    if (status.phase !== 'online') {
      this.#memberCount = undefined;
      this.#numbers.showRoundTrip(undefined);
    }
    this.roomsChanged();
  }

  pushesArrived(messages: readonly InboundMessage[]): void {
    this.#rates.frame(messages.length);
    const atMs = Date.now();
    for (const message of messages.slice(-LOG_LINES_COUNT)) this.#log.add(messageLine(message, atMs));
    this.#requestFrame();
  }

  heartbeatAnswered(memberCount: number, roundTripMs: number): void {
    this.#memberCount = memberCount;
    this.#numbers.showRoundTrip(roundTripMs);
    this.#requestFrame();
  }

  roomsChanged(): void {
    this.#areRoomsChanged = true;
    this.#requestFrame();
  }

  gapFound(missedCount: number, text: string): void {
    this.#rates.gap(missedCount);
    this.#note('gap', 0, `gap: ${text}`);
  }

  noted(op: number, text: string): void {
    this.#note('event', op, text);
  }

  #connect(settings: ConnectSettings): void {
    this.#rates.reset();
    this.#pushForm.aim(settings.room, settings.key, settings.mid);
    setText(this.#joinLabel, settings.extended ? 'Join another room' : 'Move to another room');
    setText(this.#joinButton, settings.extended ? 'Join' : 'Move');
    this.#connection.connect(settings);
  }

  #join(): void {
    const room = this.#joinRoom.value.trim();
    if (room === '') return;
    this.#connection.join(room);
    this.#joinRoom.value = '';
  }

  #note(kind: LogLine['kind'], op: number, text: string): void {
    this.#log.add({ atMs: Date.now(), kind, op, where: '', content: text });
    this.#requestFrame();
  }

  #requestFrame(): void {
    if (this.#isFrameRequested) return;
    this.#isFrameRequested = true;
    requestAnimationFrame(() => this.#renderFrame());
  }

  #renderFrame(): void {
    this.#isFrameRequested = false;
    this.#logView.render();
    this.#showMembers();
    if (!this.#areRoomsChanged) return;
    this.#areRoomsChanged = false;
    this.#roomsView.render(this.#connection.rooms(), this.#connection.status.phase === 'online');
  }

  /** A heartbeat counts the primary room; without one its zero means nothing. */
  #showMembers(): void {
    const hasPrimary = this.#connection.rooms().some((row) => row.isPrimary && row.state === 'joined');
    this.#numbers.showMembers(hasPrimary ? this.#memberCount : undefined);
  }

  #showNumbers(): void {
    this.#numbers.showRates(this.#rates);
    this.#logView.setRate(this.#rates.messagesPerSec());
  }
}

function messageLine({ op, body, scope, room, offset }: InboundMessage, atMs: number): LogLine {
  const name = scope === 'room' ? room : SCOPE_TEXT[scope];
  const where = offset === undefined ? name : `${name} #${offset}`;
  return { atMs, kind: 'message', op, where, content: body };
}

void new Page().start();
