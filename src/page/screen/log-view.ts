/**
 * The message log on screen: at most 200 rows, written once per animation frame. A row that falls off the top is rewritten
 * and moved to the bottom, so that a fast room creates no elements.
 *
 * The log follows the newest line. It stands still while it is paused or scrolled up; what comes meanwhile waits in the
 * `MessageLog`, and a button says how much.
 */

import { LOG_LINES_COUNT, type LogLine, type MessageLog } from '../message-log.js';
import { bodyLine } from '../message-text.js';
import { element, setText } from './elements.js';

/** Above this rate a screen reader could not finish one line before the next. */
const MAX_SPOKEN_PER_SEC = 3;
/** So near to the end counts as being there: zoomed pages scroll to fractions. */
const AT_END_PX = 12;

export class LogView {
  readonly #log: MessageLog;
  readonly #onChange: () => void;
  readonly #list = element('log', HTMLOListElement);
  readonly #scroll = element('log-scroll', HTMLDivElement);
  readonly #empty = element('log-empty', HTMLParagraphElement);
  readonly #latest = element('latest', HTMLButtonElement);
  readonly #pause = element('pause', HTMLButtonElement);
  #isPaused = false;
  #isAtEnd = true;

  /** @param onChange the person did something that makes a new `render` necessary */
  constructor(log: MessageLog, onChange: () => void) {
    this.#log = log;
    this.#onChange = onChange;
    this.#scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#pause.addEventListener('click', () => this.#setPaused(!this.#isPaused));
    this.#latest.addEventListener('click', () => this.#follow());
    element('clear', HTMLButtonElement).addEventListener('click', () => this.#clear());
  }

  /** Show what has come. Call it once per animation frame. */
  render(): void {
    const standsStill = this.#isPaused || !this.#isAtEnd;
    const waitingCount = standsStill ? this.#log.waitingCount : 0;
    this.#latest.hidden = waitingCount === 0;
    setText(this.#latest, `${waitingCount.toLocaleString('en')} new ↓`);
    if (standsStill) return;
    const lines = this.#log.take();
    if (lines.length === 0) return;
    this.#empty.hidden = true;
    const fragment = document.createDocumentFragment();
    let reusableCount = this.#list.childElementCount + lines.length - LOG_LINES_COUNT;
    for (const line of lines) {
      const oldest = reusableCount > 0 ? this.#list.firstElementChild : null;
      reusableCount -= 1;
      const row = oldest ?? createRow();
      writeRow(row, line);
      fragment.append(row);
    }
    this.#list.append(fragment);
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** Read new lines out only as long as a person could listen. */
  setRate(messagesPerSec: number): void {
    const live = messagesPerSec > MAX_SPOKEN_PER_SEC ? 'off' : 'polite';
    if (this.#scroll.getAttribute('aria-live') !== live) this.#scroll.setAttribute('aria-live', live);
  }

  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    if (isAtEnd === this.#isAtEnd) return;
    this.#isAtEnd = isAtEnd;
    this.#onChange();
  }

  #setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#pause.setAttribute('aria-pressed', String(isPaused));
    setText(this.#pause, isPaused ? 'Resume' : 'Pause');
    this.#onChange();
  }

  #follow(): void {
    this.#isAtEnd = true;
    this.#setPaused(false);
    // The button goes; the focus should not fall to the top of the page.
    this.#scroll.focus({ preventScroll: true });
  }

  #clear(): void {
    this.#log.take();
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#isAtEnd = true;
    this.#onChange();
  }
}

/** Four cells in the order in which `writeRow` fills them. */
function createRow(): Element {
  const row = document.createElement('li');
  for (const name of ['time', 'op', 'where', 'text']) {
    const cell = document.createElement('span');
    cell.className = name;
    cell.append('');
    row.append(cell);
  }
  return row;
}

function writeRow(row: Element, line: LogLine): void {
  const [time, op, where, text] = row.children;
  row.setAttribute('data-kind', line.kind);
  write(time, clockTime(line.atMs));
  write(op, line.op === 0 ? '' : String(line.op));
  write(where, line.where);
  where?.setAttribute('title', line.where);
  write(text, typeof line.content === 'string' ? line.content : bodyLine(line.content));
}

/** Into the text node that is there: textContent would make a new one each time. */
function write(cell: Element | undefined, text: string): void {
  if (cell?.firstChild instanceof Text) cell.firstChild.data = text;
}

/** Local `12:03:04.567`. */
function clockTime(atMs: number): string {
  const at = new Date(atMs);
  const two = (value: number) => String(value).padStart(2, '0');
  const ms = String(at.getMilliseconds()).padStart(3, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`;
}
