/**
 * The elements of page.html by their id, with the type that the code relies on.
 */
import { HalleyError } from '../../errors/index.js';

/** @throws HalleyError PAGE_ELEMENT_MISSING where page.html and the code disagree */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new HalleyError('PAGE_ELEMENT_MISSING', 'page.html has no such element', { id, type: type.name });
}

/** The same for what has no class of its own: headings, paragraphs, cells, SVG. */
export function anyElement(id: string): Element {
  const found = document.getElementById(id);
  if (found !== null) return found;
  throw new HalleyError('PAGE_ELEMENT_MISSING', 'page.html has no such element', { id });
}

/** Set the text of `target` unless it stands there already: an equal text would still cost a layout and be read out. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
