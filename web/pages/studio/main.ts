import {
  type CodecPick,
  devices,
  discover,
  LiveError,
  type Publish,
  publish,
  type State,
} from '../../sdk/index.ts';
import { roomOf, setText } from '../page-kit/dom.ts';
import { duration, stateWord, viewers } from '../page-kit/words.ts';
import { Arrivals } from './arrivals.ts';
import { LevelMeter } from './level-meter.ts';
import { networkWords, showLayers } from './sent-table.ts';
import { liveError, Source } from './source.ts';
import { View } from './view.ts';

/** The studio: choose a source, go live, see what is being sent. */

const room = roomOf(location.pathname, '/studio/') ?? 'demo';
const view = new View();
const source = new Source();
const meter = new LevelMeter(view.level);
const arrivals = new Arrivals();
const codecs: readonly CodecPick[] = ['auto', 'h264', 'vp8', 'vp9', 'av1'];
const viewersIntervalMs = 3000;
const secondPressMs = 1000;

const emptyOffAir = view.previewEmpty.textContent;
const emptyOnAir = 'There is no picture. What you choose now is seen at once.';

let live: Publish | null = null;
let liveSince = 0;
/** The second press of a host who stops with two must not put them back on air. */
let justStopped = false;
/** What the last action or the session complains about. */
let trouble: LiveError | null = null;

/** Says what went wrong; null takes it back. What happened to the source stays said until it is mended. */
function say(error: LiveError | null): void {
  trouble = error;
  view.notice(trouble ?? source.trouble);
}

function showState(state: State): void {
  const word = state === 'live' ? `Live ${duration(performance.now() - liveSince)}` : stateWord(state);
  setText(view.state, word);
  view.state.dataset['state'] = state;
  document.title = `${state === 'live' ? '● ' : ''}${room} · Studio · Nearcast`;
  const busy = live !== null;
  setText(view.go, busy ? (state === 'live' ? 'Stop' : 'Cancel') : 'Go live');
  view.go.classList.toggle('button--live', !busy);
  view.go.disabled = !busy && (source.kind === null || justStopped);
  setText(view.previewEmpty, busy ? emptyOnAir : emptyOffAir);
  view.codec.disabled = busy;
  view.simulcast.disabled = busy;
  if (state !== 'live') {
    // Figures of a session that is over are true of nothing.
    setText(view.viewers, '');
    setText(view.network, '');
    showLayers(view.layers, []);
  }
  arrivals.follow(state === 'live' ? live : null);
}

function showSource(): void {
  const { kind, muted, audio } = source;
  // Without a picture the last frame would stay.
  const shown = kind === null ? null : source.stream;
  if (view.preview.srcObject !== shown) view.preview.srcObject = shown;
  view.previewEmpty.hidden = kind !== null;
  view.preview.classList.toggle('preview__video--mirrored', kind === 'camera');
  view.useCamera.setAttribute('aria-pressed', String(kind === 'camera'));
  view.useScreen.setAttribute('aria-pressed', String(kind === 'screen'));
  view.mute.disabled = audio === null;
  view.mute.setAttribute('aria-pressed', String(muted));
  setText(view.mute, muted ? 'Unmute' : 'Mute');
  view.level.hidden = audio === null;
  meter.listen(audio);
  say(trouble);
  void offerDevices();
  void live?.replace('video', source.video);
  void live?.replace('audio', source.audio);
  showState(live?.state ?? 'idle');
}

/** Runs what a button asked for; its failure becomes words on the page. */
async function act(action: () => Promise<void>): Promise<void> {
  say(null);
  try {
    await action();
  } catch (error) {
    say(liveError(error));
    // The lists say what is still in use.
    if (source.kind !== null) await offerDevices();
  }
}

async function offerDevices(): Promise<void> {
  view.offer(await devices(), source.kind === 'camera' ? source.video : null, source.audio);
}

function goLive(): void {
  const codec = codecs.find((name) => name === view.codec.value) ?? 'auto';
  const session = publish({
    url: `/whip/${room}`,
    source: source.stream,
    codec,
    simulcast: view.simulcast.value === '3',
  });
  live = session;
  say(null);
  session.on('state', ({ state }) => {
    if (live !== session) return;
    if (state === 'live') {
      liveSince = performance.now();
      say(null);
    }
    if (state === 'failed') live = null;
    showState(state);
  });
  session.on('error', ({ error }) => {
    if (live === session || session.state === 'failed') say(error);
  });
  session.on('stats', ({ stats }) => {
    if (live !== session || session.state !== 'live') return;
    showLayers(view.layers, stats.layers);
    setText(view.network, networkWords(stats));
    showState(session.state);
  });
  showState(session.state);
}

async function stop(session: Publish): Promise<void> {
  live = null;
  say(null);
  justStopped = true;
  // At once: the server may take seconds to answer, and a button that still says "Stop" is pressed again.
  showState('idle');
  setTimeout(() => {
    justStopped = false;
    showState(live?.state ?? 'idle');
  }, secondPressMs);
  await session.close();
}

async function countViewers(): Promise<void> {
  const info =
    live?.state === 'live' ? await discover(new URL(`/r/${room}`, location.href)).catch(() => null) : null;
  if (info && live?.state === 'live') setText(view.viewers, viewers(info.viewers));
  setTimeout(() => void countViewers(), viewersIntervalMs);
}

const choice = (): { cameraId: string; microphoneId: string } => ({
  cameraId: view.camera.value,
  microphoneId: view.microphone.value,
});

source.addEventListener('change', showSource);
view.useCamera.addEventListener('click', () => void act(() => source.useCamera(choice())));
view.useScreen.addEventListener('click', () => void act(() => source.useScreen()));
view.camera.addEventListener('change', () => void act(() => source.chooseCamera(choice())));
view.microphone.addEventListener('change', () => void act(() => source.chooseMicrophone(choice())));
view.mute.addEventListener('click', () => source.setMuted(!source.muted));
view.go.addEventListener('click', () => (live ? void stop(live) : goLive()));
view.copy.addEventListener('click', () => {
  const said = (word: string) => (): void => setText(view.copy, word);
  void navigator.clipboard.writeText(view.viewerLink.href).then(said('Copied'), said('Copy failed'));
  setTimeout(said('Copy link'), 2000);
});
navigator.mediaDevices?.addEventListener('devicechange', () => {
  void source.mend();
  void offerDevices();
});
addEventListener('beforeunload', (event) => {
  if (live?.state === 'live') event.preventDefault();
});

view.addresses(room);
showState('idle');
void countViewers();
if (!isSecureContext) {
  say(new LiveError('media/insecure-context', 'this address is not secure, so the browser gives no camera'));
  view.useCamera.disabled = true;
  view.useScreen.disabled = true;
}
