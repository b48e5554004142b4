import { Session } from '../../sdk/session.ts';
import { startBitrate } from './answer.ts';
import { type CanvasAsk, canvasStream } from './canvas-source.ts';

const startKbps = 1500;

/**
 * Publishes one layer as a hardware encoder does: a keyframe every `gopMs`, and none on request. The offer does not name
 * PLI and FIR, so the server has no way to ask.
 */
export async function publishGops(
  ask: CanvasAsk & { readonly url: string; readonly codec: string },
  gopMs: number,
): Promise<void> {
  const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const stream = canvasStream(ask);
  const [picture] = stream.getVideoTracks();
  const [sound] = stream.getAudioTracks();
  if (!picture) throw new Error('no picture');
  const transceiver = connection.addTransceiver(picture, {
    direction: 'sendonly',
    streams: [stream],
    sendEncodings: [{ maxBitrate: 1_200_000 }],
  });
  if (sound) connection.addTransceiver(sound, { direction: 'sendonly', streams: [stream] });
  transceiver.setCodecPreferences(preferred(ask.codec));
  const createOffer = connection.createOffer.bind(connection);
  const withoutRequests = async (): Promise<RTCSessionDescriptionInit> => {
    const { type, sdp = '' } = await createOffer();
    return { type, sdp: sdp.replace(/^a=rtcp-fb:\S+ (?:nack pli|ccm fir)\r\n/gm, '') };
  };
  Object.defineProperty(connection, 'createOffer', { value: withoutRequests });
  await Session.open({
    endpoint: new URL(ask.url),
    connection,
    signal: AbortSignal.timeout(600_000),
    prepareAnswer: (sdp) => startBitrate(sdp, startKbps),
  });
  const { sender } = transceiver;
  setInterval(() => void makeKeyframe(sender), gopMs);
}

function preferred(codec: string): RTCRtpCodec[] {
  const all = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const mime = `video/${codec}`.toLowerCase();
  const own = all.filter(({ mimeType }) => mimeType.toLowerCase() === mime);
  const repair = all.filter(({ mimeType }) => mimeType.toLowerCase() === 'video/rtx');
  return [...own, ...repair];
}

/** `encodingOptions` is in the WebRTC extensions draft and in Chromium, and not in the DOM types yet. */
interface KeyframeSender {
  setParameters(
    parameters: RTCRtpSendParameters,
    options: { readonly encodingOptions: readonly { readonly keyFrame: boolean }[] },
  ): Promise<void>;
}

async function makeKeyframe(sender: RTCRtpSender): Promise<void> {
  const extended: KeyframeSender = sender;
  await extended.setParameters(sender.getParameters(), { encodingOptions: [{ keyFrame: true }] });
}
