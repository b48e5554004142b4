import { isLiveError } from './error.ts';
import { buildFragment, type FragmentParts, iceCredentials } from './sdp-fragment.ts';

/** Sends one fragment; rejects with the server's refusal. */
export type SendFragment = (fragment: string) => Promise<void>;

/** Gathers local candidates and hands them over in as few requests as it can (RFC 9725 §4.3.1). */
export class Trickle {
  readonly #connection: RTCPeerConnection;
  #candidates: string[] = [];
  #ended = false;
  #send: SendFragment | null = null;
  #sending = false;

  constructor(connection: RTCPeerConnection, signal: AbortSignal) {
    this.#connection = connection;
    connection.addEventListener('icecandidate', (event) => this.#collect(event.candidate), { signal });
  }

  /** Begins to send: what was gathered so far goes out in one request. */
  start(send: SendFragment): void {
    this.#send = send;
    void this.#flush();
  }

  /** Forgets what was gathered and waits for {@link start}: an ICE restart gathers anew, under another entity tag. */
  pause(): void {
    this.#send = null;
    this.#take();
  }

  #collect(candidate: RTCIceCandidate | null): void {
    if (candidate === null || candidate.candidate === '') this.#ended = true;
    // Everything is bundled, so the first section's candidates are everybody's.
    else if (candidate.sdpMLineIndex === 0) this.#candidates.push(candidate.candidate);
    void this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    // One task later, so that candidates found together travel together.
    await new Promise((resolve) => setTimeout(resolve));
    const fragment = this.#fragment();
    const send = this.#send;
    try {
      if (fragment && send) await send(fragment);
    } catch (error) {
      // Without trickle the server still learns our address from our checks; it may also not support it at all.
      if (isLiveError(error) && [405, 422, 501].includes(error.status ?? 0)) this.#send = null;
    }
    this.#sending = false;
    if (this.#send && (this.#candidates.length > 0 || this.#ended)) void this.#flush();
  }

  #fragment(): string | null {
    const credentials = iceCredentials(this.#connection.localDescription?.sdp ?? '');
    const first = this.#connection.getTransceivers()[0];
    if (!this.#send || !credentials || (this.#candidates.length === 0 && !this.#ended)) return null;
    return buildFragment({
      credentials,
      mid: first?.mid ?? '0',
      kind: first?.receiver.track.kind ?? 'video',
      ...this.#take(),
    });
  }

  #take(): Pick<FragmentParts, 'candidates' | 'endOfCandidates'> {
    const taken = { candidates: this.#candidates, endOfCandidates: this.#ended };
    this.#candidates = [];
    this.#ended = false;
    return taken;
  }
}
