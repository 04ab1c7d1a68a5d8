/**
 * The form of the connection: what to connect with, and the two buttons.
 */
import type { ConnectionStatus } from '../connection-status.js';
import { type ConnectSettings, readSettings } from '../settings.js';
import { anyElement, element, setText } from './elements.js';

export class ConnectionForm {
  readonly #url = element('url', HTMLInputElement);
  readonly #mid = element('mid', HTMLInputElement);
  readonly #key = element('key', HTMLInputElement);
  readonly #room = element('room', HTMLInputElement);
  readonly #accepts = element('accepts', HTMLInputElement);
  readonly #token = element('token', HTMLInputElement);
  readonly #extended = element('extended', HTMLInputElement);
  readonly #problem = element('connection-problem', HTMLParagraphElement);
  readonly #connect = element('connect', HTMLButtonElement);
  readonly #disconnect = element('disconnect', HTMLButtonElement);
  readonly #status = anyElement('status');
  readonly #statusText = anyElement('status-text');

  constructor(onConnect: (settings: ConnectSettings) => void, onDisconnect: () => void) {
    element('connection-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      const settings = this.read();
      if (settings !== undefined) onConnect(settings);
    });
    this.#disconnect.addEventListener('click', onDisconnect);
  }

  /** Fill in what only the browser knows. */
  fill(url: string, key: string): void {
    this.#url.value = url;
    this.#key.value = key;
  }

  /** The settings; undefined where a field is wrong, and then the form says which. */
  read(): ConnectSettings | undefined {
    const settings = readSettings({
      url: this.#url.value,
      mid: this.#mid.value,
      key: this.#key.value,
      room: this.#room.value,
      accepts: this.#accepts.value,
      token: this.#token.value,
      extended: this.#extended.checked,
    });
    setText(this.#problem, settings.ok ? '' : settings.error);
    return settings.ok ? settings.value : undefined;
  }

  /** @param text the status line */
  show(status: ConnectionStatus, text: string): void {
    const isOff = status.phase === 'idle' || status.phase === 'closed';
    setText(this.#statusText, text);
    this.#status.setAttribute('data-phase', status.phase);
    setText(this.#connect, isOff ? 'Connect' : 'Reconnect');
    this.#disconnect.disabled = isOff;
  }
}
