import { Session } from '../../sdk/session.ts';

/** What a viewer has heard since it joined. Samples are of one channel. */
export interface Heard {
  readonly packets: number;
  readonly bytes: number;
  readonly lost: number;
  /** Packets whose successor repeats them within the codec (W3C `fecPacketsReceived`); RED is not counted here. */
  readonly repaired: number;
  readonly samples: number;
  /** Samples that were made up because their packet was missing (W3C `concealedSamples`). */
  readonly concealed: number;
  readonly answer: string;
}

/** Joins a room and listens; without RED, if that is to be left out of the offer. */
export async function listen(endpoint: string, { red }: { readonly red: boolean }): Promise<void> {
  const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const sound = connection.addTransceiver('audio', { direction: 'recvonly' });
  connection.addTransceiver('video', { direction: 'recvonly' });
  if (!red) {
    const all = RTCRtpReceiver.getCapabilities('audio')?.codecs ?? [];
    sound.setCodecPreferences(all.filter(({ mimeType }) => mimeType.toLowerCase() !== 'audio/red'));
  }
  // Nothing is decoded of what nobody plays.
  const speaker = new Audio();
  speaker.srcObject = new MediaStream([sound.receiver.track]);
  const signal = AbortSignal.timeout(600_000);
  await Session.open({ endpoint: new URL(endpoint), connection, signal });
  await speaker.play();
}

/** Reads what a connection has received of sound. */
export async function heard(connection: RTCPeerConnection): Promise<Heard> {
  const entries: Readonly<Record<string, unknown>>[] = [];
  (await connection.getStats()).forEach((entry: Readonly<Record<string, unknown>>) => {
    entries.push(entry);
  });
  const inbound = entries.find((entry) => entry['type'] === 'inbound-rtp' && entry['kind'] === 'audio') ?? {};
  const count = (field: string): number => Number(inbound[field] ?? 0);
  return {
    packets: count('packetsReceived'),
    bytes: count('bytesReceived'),
    lost: count('packetsLost'),
    repaired: count('fecPacketsReceived'),
    samples: count('totalSamplesReceived'),
    concealed: count('concealedSamples'),
    answer: connection.remoteDescription?.sdp ?? '',
  };
}
