/**
 * The list of rooms: where each sequence stands, and the way out. Rows stay the same elements, so a button that has the
 * focus keeps it while offsets move on.
 */

import type { RoomRow } from '../room-table.js';
import { element, setText } from './elements.js';

interface Row {
  readonly item: HTMLLIElement;
  readonly state: HTMLElement;
  readonly leave: HTMLButtonElement;
}

export class RoomsView {
  readonly #onLeave: (room: string) => void;
  readonly #list = element('rooms', HTMLUListElement);
  readonly #empty = element('rooms-empty', HTMLParagraphElement);
  readonly #rows = new Map<string, Row>();

  constructor(onLeave: (room: string) => void) {
    this.#onLeave = onLeave;
  }

  render(rooms: readonly RoomRow[], isOnline: boolean): void {
    this.#empty.hidden = rooms.length > 0;
    const gone = new Set(this.#rows.keys());
    for (const room of rooms) {
      gone.delete(room.room);
      const row = this.#rows.get(room.room) ?? this.#add(room.room);
      setText(row.state, stateText(room));
      row.item.title = room.epoch === undefined ? '' : `roomEpoch ${room.epoch}`;
      row.state.classList.toggle('refused', room.state === 'refused');
      row.leave.disabled = !isOnline || room.state === 'leaving';
    }
    for (const room of gone) {
      this.#rows.get(room)?.item.remove();
      this.#rows.delete(room);
    }
  }

  #add(room: string): Row {
    const item = document.createElement('li');
    const text = document.createElement('div');
    const name = document.createElement('div');
    const state = document.createElement('div');
    const leave = document.createElement('button');
    text.className = 'room-text';
    name.className = 'room-name';
    name.textContent = room;
    state.className = 'room-state';
    leave.type = 'button';
    leave.className = 'small';
    leave.textContent = 'Leave';
    leave.setAttribute('aria-label', `Leave ${room}`);
    leave.addEventListener('click', () => this.#onLeave(room));
    text.append(name, state);
    item.append(text, leave);
    this.#list.append(item);
    const row = { item, state, leave };
    this.#rows.set(room, row);
    return row;
  }
}

function stateText({ state, isPrimary, offset, error }: RoomRow): string {
  if (state === 'refused') return `refused: ${error}`;
  if (state !== 'joined') return `${state}…`;
  const kind = isPrimary ? 'primary' : 'joined';
  return offset === undefined ? kind : `${kind}, offset ${offset.toLocaleString('en')}`;
}
