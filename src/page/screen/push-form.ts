/**
 * The form that pushes, and the curl command that would do the same, kept up to date with it.
 */

import { curlCommand, type PushRequest, type PushTargetKind, pushRequest } from '../push-request.js';
import { element, setText } from './elements.js';
import { type PushResult, sendPush } from './http-api.js';

const TARGET_LABELS: Readonly<Record<PushTargetKind, string>> = {
  room: 'Room',
  key: 'Device key',
  mid: 'User (mid)',
  all: '',
};
const UNAUTHORIZED = 401;
const COPIED_SHOWN_MS = 1500;

export class PushForm {
  readonly #form = element('push-form', HTMLFormElement);
  readonly #to = element('to', HTMLInputElement);
  readonly #toField = element('to-field', HTMLLabelElement);
  readonly #toLabel = element('to-label', HTMLSpanElement);
  readonly #op = element('op', HTMLInputElement);
  readonly #body = element('body', HTMLTextAreaElement);
  readonly #times = element('times', HTMLInputElement);
  readonly #tokenField = element('api-token-field', HTMLLabelElement);
  readonly #token = element('api-token', HTMLInputElement);
  readonly #push = element('push', HTMLButtonElement);
  readonly #reply = element('push-reply', HTMLParagraphElement);
  readonly #curl = element('curl', HTMLElement);
  readonly #copy = element('copy', HTMLButtonElement);
  /** What stands in the field, per kind of target. */
  readonly #toByTarget: Record<PushTargetKind, string> = { room: '', key: '', mid: '', all: '' };
  #target: PushTargetKind = 'room';

  constructor() {
    this.#form.addEventListener('input', () => this.#changed());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#body.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    this.#copy.addEventListener('click', () => void this.#copyCommand());
  }

  /** Aim at what this page is connected as. */
  aim(room: string, key: string, mid: number): void {
    Object.assign(this.#toByTarget, { room, key, mid: mid === 0 ? '' : String(mid) });
    this.#to.value = this.#toByTarget[this.#target];
    this.#showCommand();
  }

  #changed(): void {
    const target = (new FormData(this.#form).get('target') ?? 'room') as PushTargetKind;
    if (target === this.#target) {
      this.#toByTarget[target] = this.#to.value;
    } else {
      this.#target = target;
      this.#to.value = this.#toByTarget[target];
      this.#toField.hidden = target === 'all';
      setText(this.#toLabel, TARGET_LABELS[target]);
    }
    this.#showCommand();
  }

  #request() {
    return pushRequest({
      target: this.#target,
      to: this.#to.value,
      op: this.#op.value,
      body: this.#body.value,
      times: this.#times.value,
    });
  }

  #showCommand(): void {
    const request = this.#request();
    const hasToken = !this.#tokenField.hidden;
    setText(this.#curl, request.ok ? curlCommand(location.origin, request.value, hasToken) : `# ${request.error}`);
    this.#copy.disabled = !request.ok;
  }

  async #send(): Promise<void> {
    const request = this.#request();
    if (!request.ok) {
      this.#showReply('bad', request.error);
      return;
    }
    this.#push.disabled = true;
    const result = await sendPush(request.value, this.#token.value.trim());
    this.#push.disabled = false;
    const isAccepted = result.code === 0 && result.acceptedCount === request.value.timesCount;
    this.#showReply(isAccepted ? 'good' : 'bad', replyText(result, request.value));
    if (result.status === UNAUTHORIZED) this.#askToken();
  }

  #askToken(): void {
    this.#tokenField.hidden = false;
    this.#token.focus();
    this.#showCommand();
  }

  #showReply(kind: 'good' | 'bad', text: string): void {
    this.#reply.dataset['kind'] = kind;
    this.#reply.textContent = text;
  }

  async #copyCommand(): Promise<void> {
    const isCopied = await copyText(this.#curl);
    setText(this.#copy, isCopied ? 'Copied' : 'Selected');
    window.setTimeout(() => setText(this.#copy, 'Copy'), COPIED_SHOWN_MS);
  }
}

function replyText({ status, code, message, acceptedCount, tookMs }: PushResult, request: PushRequest): string {
  const took = `${tookMs < 10 ? tookMs.toFixed(1) : Math.round(tookMs)} ms`;
  if (status === 0) return `No answer from the node: ${message}`;
  if (code === undefined) return `HTTP ${status}: ${message}`;
  const words = message === '' ? '' : `, ${message}`;
  const count = request.timesCount > 1 ? `${acceptedCount} of ${request.timesCount} accepted, ` : '';
  return `${count}HTTP ${status}, code ${code}${words} (${took})`;
}

/** Copy the text of `source`; it is left selected where the browser does not allow that. @returns whether it was copied */
async function copyText(source: HTMLElement): Promise<boolean> {
  const clipboard: Clipboard | undefined = navigator.clipboard;
  try {
    // Undefined on origins that are not secure, as a node on a local network.
    if (clipboard !== undefined) {
      await clipboard.writeText(source.textContent ?? '');
      return true;
    }
  } catch {
    // The person or a policy said no; selecting is what is left.
  }
  getSelection()?.selectAllChildren(source);
  return false;
}
