import { LiveError } from './error.ts';

/** A video codec that a publisher may ask for; `auto` leaves it to the browser. */
export type CodecPick = 'auto' | 'h264' | 'vp8' | 'vp9' | 'av1';

/** One simulcast encoding that the browser shall send. */
export interface Layer {
  readonly rid: string;
  /** Divides width and height of the source. */
  readonly scale: number;
  /** bit/s */
  readonly maxBitrate: number;
  /** Temporal layers, as `L1T3`; where left out, what the browser does by itself. */
  readonly scalabilityMode?: string;
}

/** bit/s of the highest layer for a source at least this high. */
const topBitrates: readonly (readonly [height: number, bitrate: number])[] = [
  [1080, 3_000_000],
  [720, 1_500_000],
  [0, 800_000],
];

/** Three layers of a quarter, a half and all of the source's size, lowest first, as browsers want them. */
export function simulcastLayers(height: number, maxBitrate?: number): Layer[] {
  const top = maxBitrate ?? topBitrates.find(([least]) => height >= least)?.[1] ?? 800_000;
  return [
    { rid: 'q', scale: 4, maxBitrate: Math.round(top / 10) },
    { rid: 'h', scale: 2, maxBitrate: Math.round(top / 3) },
    { rid: 'f', scale: 1, maxBitrate: top },
  ];
}

/**
 * The encodings to give to `addTransceiver`. Chromium sends only the first layer of VP9 and AV1 unless each encoding
 * says that it is a whole picture (`L1T1`).
 */
export function sendEncodings(layers: readonly Layer[], codec: CodecPick): RTCRtpEncodingParameters[] {
  const single = codec === 'vp9' || codec === 'av1' ? 'L1T1' : undefined;
  return layers.map(({ rid, scale, maxBitrate, scalabilityMode = single }) => ({
    rid,
    scaleResolutionDownBy: scale,
    maxBitrate,
    ...(scalabilityMode === undefined ? {} : { scalabilityMode }),
  }));
}

/** The capabilities of one codec with retransmission, best first. Throws `media/codec` where the browser has none. */
export function codecPreferences(available: readonly RTCRtpCodec[], codec: CodecPick): RTCRtpCodec[] {
  if (codec === 'auto') return [...available];
  const wanted = available.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`);
  if (wanted.length === 0)
    throw new LiveError('media/codec', `this browser cannot send ${codec.toUpperCase()}`);
  const retransmission = available.filter(({ mimeType }) => mimeType.toLowerCase() === 'video/rtx');
  return [...wanted.sort((a, b) => rank(b) - rank(a)), ...retransmission];
}

/**
 * The capabilities of sound with RED (RFC 2198) first, where the browser has it: each packet repeats the one before, and
 * who misses one hears no gap.
 */
export function soundPreferences(available: readonly RTCRtpCodec[]): RTCRtpCodec[] {
  return [...available.filter(isRed), ...available.filter((codec) => !isRed(codec))];
}

/** Tells RED from other codecs. */
export function isRed({ mimeType }: RTCRtpCodec): boolean {
  return mimeType.toLowerCase() === 'audio/red';
}

/** H.264 constrained baseline in packetisation mode 1 is what every decoder takes. */
function rank({ sdpFmtpLine = '' }: RTCRtpCodec): number {
  return Number(sdpFmtpLine.includes('packetization-mode=1')) * 2 + Number(sdpFmtpLine.includes('42e01f'));
}
