/**
 * The last 200 lines for the log, kept until the next animation frame takes them.
 *
 * Guarantees: constant memory at any rate. Of what one frame cannot show, only the count is kept. Bodies are decoded when a
 * line is shown, never before.
 */

export const LOG_LINES_COUNT = 200;

export interface LogLine {
  /** Wall clock. */
  readonly atMs: number;
  readonly kind: 'message' | 'event' | 'gap';
  /** 0 where no packet stands behind the line. */
  readonly op: number;
  /** Room and offset, or who was meant. */
  readonly where: string;
  /** Text, or a body to be made into one. */
  readonly content: string | Uint8Array;
}

export class MessageLog {
  /** Ring: line number n is at n modulo the length. */
  readonly #lines: LogLine[] = [];
  #addedCount = 0;
  #takenCount = 0;

  /** Lines that no `take` has returned or skipped yet. */
  get waitingCount(): number {
    return this.#addedCount - this.#takenCount;
  }

  add(line: LogLine): void {
    this.#lines[this.#addedCount % LOG_LINES_COUNT] = line;
    this.#addedCount += 1;
  }

  /** The lines since the last call, oldest first: at most the last 200 of them. */
  take(): LogLine[] {
    const lines: LogLine[] = [];
    for (let n = Math.max(this.#takenCount, this.#addedCount - LOG_LINES_COUNT); n < this.#addedCount; n++) {
      lines.push(this.#lines[n % LOG_LINES_COUNT] as LogLine);
    }
    this.#takenCount = this.#addedCount;
    return lines;
  }
}
