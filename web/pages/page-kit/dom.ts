/** The element of this id and kind. Throws when the page has none: a mistake of ours, not of the reader. */
export function byId<T extends HTMLElement>(id: string, kind: abstract new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return element;
}

/** Writes text only where it changed, so that screen readers and selections are left alone. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The room that a page's path names, or null. */
export function roomOf(path: string, prefix: string): string | null {
  const name = path.startsWith(prefix) ? path.slice(prefix.length).replace(/\/$/, '') : '';
  return isRoomName(name) ? name : null;
}

/** Whether the server would take this as the name of a room. */
export function isRoomName(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/.test(name);
}
