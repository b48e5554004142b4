import { byId, isRoomName } from './page-kit/dom.ts';

/** The front page: a name, and two ways on. */

const form = byId('form', HTMLFormElement);
const room = byId('room', HTMLInputElement);

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const name = room.value.trim();
  const page = event.submitter instanceof HTMLButtonElement ? event.submitter.value : 'r';
  if (isRoomName(name)) location.assign(`/${page}/${name}`);
});
