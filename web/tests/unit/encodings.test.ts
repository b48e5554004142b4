import { expect, test } from 'vitest';
import { codecPreferences, sendEncodings, simulcastLayers, soundPreferences } from '../../sdk/encodings.ts';

const codec = (mimeType: string, sdpFmtpLine?: string): RTCRtpCodec => ({
  mimeType,
  clockRate: 90_000,
  ...(sdpFmtpLine === undefined ? {} : { sdpFmtpLine }),
});

test('three layers: a quarter, a half, all, with rates for the size of the source', () => {
  expect(simulcastLayers(720)).toEqual([
    { rid: 'q', scale: 4, maxBitrate: 150_000 },
    { rid: 'h', scale: 2, maxBitrate: 500_000 },
    { rid: 'f', scale: 1, maxBitrate: 1_500_000 },
  ]);
  expect(simulcastLayers(1080).at(-1)?.maxBitrate).toBe(3_000_000);
  expect(simulcastLayers(480).at(-1)?.maxBitrate).toBe(800_000);
  expect(simulcastLayers(1080, 900_000).map(({ maxBitrate }) => maxBitrate)).toEqual([
    90_000, 300_000, 900_000,
  ]);
});

test('VP9 and AV1 say that every encoding is a whole picture, the others say nothing', () => {
  const layers = simulcastLayers(720);

  expect(sendEncodings(layers, 'vp9').every((encoding) => 'scalabilityMode' in encoding)).toBe(true);
  expect(sendEncodings(layers, 'av1')[0]).toMatchObject({
    rid: 'q',
    scaleResolutionDownBy: 4,
    scalabilityMode: 'L1T1',
  });
  expect(sendEncodings(layers, 'vp8').some((encoding) => 'scalabilityMode' in encoding)).toBe(false);
});

test('temporal layers are asked for where they are wished, in any codec', () => {
  const [layer] = simulcastLayers(720);
  const scaled = layer ? [{ ...layer, scalabilityMode: 'L1T3' }] : [];

  expect(sendEncodings(scaled, 'vp8')[0]).toMatchObject({ rid: 'q', scalabilityMode: 'L1T3' });
  expect(sendEncodings(scaled, 'vp9')[0]).toMatchObject({ rid: 'q', scalabilityMode: 'L1T3' });
});

test('sound is sent with its repetition where the browser can, and nothing else changes', () => {
  const [opus, red, pcmu] = [codec('audio/opus'), codec('audio/red', '111/111'), codec('audio/PCMU')];

  expect(soundPreferences([opus, red, pcmu])).toEqual([red, opus, pcmu]);
  expect(soundPreferences([opus, pcmu])).toEqual([opus, pcmu]);
});

test('a chosen codec is offered alone with its retransmission, the most compatible profile first', () => {
  const available = [
    codec('video/VP8'),
    codec('video/rtx'),
    codec('video/H264', 'profile-level-id=42001f;packetization-mode=0'),
    codec('video/H264', 'profile-level-id=4d001f;packetization-mode=1'),
    codec('video/H264', 'profile-level-id=42e01f;packetization-mode=1'),
    codec('video/ulpfec'),
  ];

  expect(codecPreferences(available, 'h264')).toEqual([
    available[4],
    available[3],
    available[2],
    available[1],
  ]);
  expect(codecPreferences(available, 'auto')).toEqual(available);
  expect(() => codecPreferences(available, 'av1')).toThrow('this browser cannot send AV1');
});
