import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Publish, type PublishOptions, publish } from '../../sdk/publish.ts';

vi.mock('../../sdk/session.ts', () => ({ Session: { open: () => new Promise(() => undefined) } }));

const opus = { mimeType: 'audio/opus', clockRate: 48_000 };
const red = { mimeType: 'audio/red', clockRate: 48_000 };
const vp8 = { mimeType: 'video/VP8', clockRate: 90_000 };

let sound: RTCRtpCodec[];
/** What was preferred, by kind. */
let preferred: Record<string, RTCRtpCodec[]>;
let offered: string[];
/** What the last transceiver sends. */
let encodings: RTCRtpEncodingParameters[];

beforeEach(() => {
  sound = [opus, red];
  preferred = {};
  offered = [];
  vi.stubGlobal('RTCRtpSender', {
    getCapabilities: (kind: string) => ({ codecs: kind === 'audio' ? sound : [vp8] }),
  });
});
afterEach(() => vi.unstubAllGlobals());

test('sound is preferred with its repetition where the browser has both', async () => {
  await begin(true);

  expect(preferred).toEqual({ audio: [red, opus] });
});

test('a browser without repetition is left its own order', async () => {
  sound = [opus];
  await begin(true);

  expect(preferred).toEqual({});
});

test('a browser that takes no preferences publishes as it likes', async () => {
  const error = await begin(false);

  expect(offered).toEqual(['audio', 'video']);
  expect(error).toBeNull();
});

test('a chosen codec is preferred, and refused where the browser takes no preferences', async () => {
  await begin(true, { codec: 'vp8' });
  expect(preferred['video']).toEqual([vp8]);

  expect(await begin(false, { codec: 'vp8' })).toMatchObject({ code: 'media/codec' });
});

test.each([
  ['three layers', {}, [300_000, 1_000_000, 3_000_000]],
  ['one', { simulcast: false }, [3_000_000]],
  ['a bound of your own', { maxBitrate: 900_000 }, [90_000, 300_000, 900_000]],
  ['a list of your own', { simulcast: [{ rid: 'a', scale: 1, maxBitrate: 700_000 }] }, [700_000]],
] as const)('bitrates follow the size of what is sent: %s', async (_, options, bitrates) => {
  const handle = await beginWith(480, options);

  await handle.replace('video', ofHeight(1080));

  expect(encodings.map(({ maxBitrate }) => maxBitrate)).toEqual(bitrates);
});

test('a camera that is off and comes back keeps what it may take', async () => {
  const handle = await beginWith(480);

  await handle.replace('video', null);
  await handle.replace('video', ofHeight(480));

  expect(encodings.map(({ maxBitrate }) => maxBitrate)).toEqual([80_000, 266_667, 800_000]);
});

/** Begins to publish a picture of this height. */
async function beginWith(height: number, options: Partial<PublishOptions> = {}): Promise<Publish> {
  vi.stubGlobal(
    'RTCPeerConnection',
    class {
      addTransceiver(_track: unknown, { sendEncodings }: RTCRtpTransceiverInit): unknown {
        encodings = sendEncodings ?? [];
        return { sender };
      }
      close(): void {}
    },
  );
  const source = { getAudioTracks: () => [], getVideoTracks: () => [ofHeight(height)] };
  const handle = publish({
    url: 'http://server.example/whip/demo',
    source: source as unknown as MediaStream,
    ...options,
  });
  await new Promise((resolve) => setTimeout(resolve, 1));
  return handle;
}

function ofHeight(height: number): MediaStreamTrack {
  return { getSettings: () => ({ height }) } as unknown as MediaStreamTrack;
}

const sender = {
  replaceTrack: async () => undefined,
  getParameters: () => structuredClone({ encodings }),
  setParameters: async (parameters: { encodings: RTCRtpEncodingParameters[] }) => {
    encodings = parameters.encodings;
  },
};

/** Begins to publish; gives the error that it runs into. */
async function begin(takesPreferences: boolean, options: Partial<PublishOptions> = {}): Promise<unknown> {
  vi.stubGlobal(
    'RTCPeerConnection',
    class {
      addTransceiver(kind: string): unknown {
        offered.push(kind);
        const setCodecPreferences = (codecs: RTCRtpCodec[]): void => {
          preferred[kind] = codecs;
        };
        return { sender: {}, ...(takesPreferences ? { setCodecPreferences } : {}) };
      }
      close(): void {}
    },
  );
  const source = { getAudioTracks: () => [], getVideoTracks: () => [] } as unknown as MediaStream;
  const handle = publish({ url: 'http://server.example/whip/demo', source, ...options });
  await new Promise((resolve) => setTimeout(resolve, 1));
  const { error } = handle;
  if (error) await handle.close();
  return error;
}
