/**
 * text-table: rows for a terminal. Numbers stand right, text left, two blanks apart.
 *
 * Guarantees: one line per row. What a client chose itself (a key, a platform) cannot move the cursor or begin a line: control
 *   characters are shown as escapes.
 */

export type Cell = string | number;

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** The text on one line, with control characters as `\u001b`. */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** @returns lines with a header, each with its line end; an empty cell is shown as `-` */
export function textTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [header, ...rows.map((row) => row.map((cell) => printable(String(cell)) || '-'))];
  const widths = header.map((_, column) => Math.max(...texts.map((row) => (row[column] ?? '').length)));
  const isNumeric = header.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'));
  const lineOf = (row: readonly string[]) =>
    row
      .map((text, column) =>
        isNumeric[column] ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return texts.map((row) => `${lineOf(row)}\n`).join('');
}
