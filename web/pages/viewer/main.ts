import { type Latency, type QualityPick, type Watch, watch } from '../../sdk/index.ts';
import { byId, roomOf, setText } from '../page-kit/dom.ts';
import { showRows } from '../page-kit/explanation.ts';
import { stateWord, viewers } from '../page-kit/words.ts';
import { ExplanationPanel } from './explanation-panel.ts';
import { Face } from './face.ts';
import { figures, latencyLevel, latencyWords } from './figures.ts';
import { MissingPicture } from './missing-picture.ts';
import { QualityMenu } from './quality-menu.ts';

/** The viewer's page: plays the room as soon as somebody is live in it. */

const room = roomOf(location.pathname, '/r/') ?? 'demo';
/** An iPhone fills its screen with a video alone, by a method of its own. */
const video: HTMLVideoElement & { webkitEnterFullscreen?: () => void } = byId('video', HTMLVideoElement);
const pill = byId('state', HTMLElement);
const viewerCount = byId('viewers', HTMLElement);
const mute = byId('mute', HTMLButtonElement);
const unmute = byId('unmute', HTMLButtonElement);
const latencyText = byId('latency', HTMLElement);
const details = byId('details', HTMLDetailsElement);
const figureList = byId('figures', HTMLElement);
const fullscreen = byId('fullscreen', HTMLButtonElement);
const player = byId('player', HTMLElement);
const face = new Face();
const explanation = new ExplanationPanel();
const missing = new MissingPicture(() => showState());
const menu = new QualityMenu(byId('quality', HTMLSelectElement), (pick) => void choose(pick));

let session: Watch = open();

function open(): Watch {
  missing.rest();
  const next = watch({ url: location.href, video, quality: menu.pick });
  next.on('state', showState);
  next.on('playback', showState);
  next.on('error', showState);
  next.on('room', (event) => setText(viewerCount, event.live ? viewers(event.viewers) : ''));
  next.on('qualities', () => menu.show(next.qualities, video.videoHeight, next.selected));
  next.on('stats', ({ stats, latency }) => {
    menu.show(next.qualities, stats.height, next.selected);
    const pictured = next.selected !== 'audio-only' && next.selected !== 'paused';
    // A page that nobody sees decodes nothing, and asks nothing.
    if (next.state !== 'live' || !pictured || document.hidden) missing.rest();
    else missing.look(stats, performance.now(), () => next.explain());
    if (next.state !== 'live') return;
    const expected = pictured && !missing.why;
    showLatency(expected ? latency : null, expected ? 'No picture yet' : 'No picture');
    if (details.open) showRows(figureList, figures(stats, latency));
  });
  return next;
}

/** Says how far behind the picture is, or these words where that is not known. */
function showLatency(latency: Latency | null, otherwise: string): void {
  setText(latencyText, latency ? latencyWords(latency) : otherwise);
  if (latency) details.dataset['level'] = latencyLevel(latency);
  else delete details.dataset['level'];
}

async function choose(pick: QualityPick): Promise<void> {
  const asked = session.setQuality(pick);
  showState();
  // Where it is refused, the session goes on as before, and the page says so.
  await asked.catch(() => undefined);
  menu.show(session.qualities, video.videoHeight, session.selected);
  showState();
  explanation.refresh(() => session);
}

function showState(): void {
  const { state, playback } = session;
  setText(pill, stateWord(state));
  pill.dataset['state'] = state;
  document.title = `${state === 'live' ? '● ' : ''}${room} · Nearcast`;
  if (state !== 'live') {
    // Figures of a picture that stands still are true of nothing.
    showLatency(null, 'No picture yet');
    showRows(figureList, []);
  }
  const silent = playback === 'playing-muted';
  face.show(session, video.videoWidth > 0, missing.why);
  unmute.hidden = !silent || state !== 'live' || mute.dataset['asked'] === 'true';
  press(mute, video.muted, 'Mute', 'Unmute');
}

/** Shows the other icon of a button, and says what it does now. */
function press(button: HTMLButtonElement, on: boolean, whenOff: string, whenOn: string): void {
  button.dataset['second'] = String(on);
  button.setAttribute('aria-label', on ? whenOn : whenOff);
}

async function setMuted(muted: boolean): Promise<void> {
  // Who mutes by hand needs no reminder.
  mute.dataset['asked'] = String(muted);
  await session.setMuted(muted);
  showState();
}

mute.addEventListener('click', () => void setMuted(!video.muted));
unmute.addEventListener('click', () => void setMuted(false));
face.start.addEventListener('click', () => {
  if (session.selected === 'paused') menu.chooseAuto();
  else void session.play();
});
face.retry.addEventListener('click', () => {
  void session.close();
  session = open();
  showState();
});
details.addEventListener('toggle', () => explanation.setOpen(details.open, () => session));
byId('close', HTMLButtonElement).addEventListener('click', () => {
  details.open = false;
});
details.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') details.open = false;
});
fullscreen.addEventListener('click', () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (player.requestFullscreen) void player.requestFullscreen().catch(() => undefined);
  // It throws before there is a picture.
  else if (video.readyState > 0) video.webkitEnterFullscreen?.();
});
document.addEventListener('fullscreenchange', () => {
  const full = document.fullscreenElement !== null;
  press(fullscreen, full, 'Full screen', 'Leave full screen');
});

fullscreen.hidden = !player.requestFullscreen && !video.webkitEnterFullscreen;
setText(byId('room', HTMLElement), room);
showState();
