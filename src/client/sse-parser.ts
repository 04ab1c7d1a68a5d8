/**
 * Server-sent events out of chunks of bytes that are split anywhere, as far as Halley sends them: `id`, `event`, `data`, comments.
 *
 * Source: the HTML standard, section 9.2. Ours takes LF, CRLF and CR as it does; it differs in that `retry` is ignored and an event
 * without data is none.
 */
export interface ServerEvent {
  /** `message` where the server names none. */
  readonly name: string;
  /** Of this event or the last one that had an id. */
  readonly id: string;
  readonly data: string;
}

export class SseParser {
  readonly #decoder = new TextDecoder();
  #text = '';
  #id = '';
  #name = '';
  #data: string[] = [];

  /** The events that end in `chunk`. */
  feed(chunk: Uint8Array): ServerEvent[] {
    const text = this.#text + this.#decoder.decode(chunk, { stream: true });
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    // A line that goes on in the next chunk; also a CR at the very end, whose LF may still come.
    this.#text = lines.pop() ?? '';
    const events: ServerEvent[] = [];
    for (const line of lines) {
      if (line !== '') this.#field(line);
      else {
        if (this.#data.length > 0)
          events.push({ name: this.#name || 'message', id: this.#id, data: this.#data.join('\n') });
        this.#name = '';
        this.#data = [];
      }
    }
    return events;
  }

  #field(line: string): void {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'data') this.#data.push(value ?? '');
    else if (name === 'id') this.#id = value ?? '';
    else if (name === 'event') this.#name = value ?? '';
  }
}
