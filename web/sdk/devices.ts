import { LiveError } from './error.ts';

/** What to ask a camera and a microphone for. False leaves one out. */
export interface CameraAsk {
  readonly cameraId?: string;
  readonly microphoneId?: string;
  readonly audio?: boolean;
}

/** A camera or microphone that may be chosen. */
export interface Device {
  readonly id: string;
  readonly kind: 'camera' | 'microphone';
  readonly label: string;
}

const ideal = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/** Asks for a camera and a microphone. Rejects with a `media/…` error that says what to do. */
export async function camera(ask: CameraAsk = {}): Promise<MediaStream> {
  const { cameraId, microphoneId, audio = true } = ask;
  return capture((devices) =>
    devices.getUserMedia({
      video: { ...ideal, ...(cameraId ? { deviceId: { exact: cameraId } } : {}) },
      audio: audio && (microphoneId ? { deviceId: { exact: microphoneId } } : true),
    }),
  );
}

/** Asks for a microphone alone, to go with a screen. */
export async function microphone(id?: string): Promise<MediaStream> {
  return capture((devices) => devices.getUserMedia({ audio: id ? { deviceId: { exact: id } } : true }));
}

/** Asks for a screen, window or tab, with its sound where the browser can give it. */
export async function screen(): Promise<MediaStream> {
  const stream = await capture((devices) =>
    devices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: true }),
  );
  // Without this a browser takes screens for slides and sends few frames and layers.
  for (const track of stream.getVideoTracks()) track.contentHint = 'motion';
  return stream;
}

/** The cameras and microphones. Their labels are empty until one was allowed. */
export async function devices(): Promise<Device[]> {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return found.flatMap(({ deviceId: id, kind, label }): Device[] => {
    if (kind === 'videoinput') return [{ id, kind: 'camera', label: label || 'Camera' }];
    if (kind === 'audioinput') return [{ id, kind: 'microphone', label: label || 'Microphone' }];
    return [];
  });
}

async function capture(ask: (devices: MediaDevices) => Promise<MediaStream>): Promise<MediaStream> {
  const available: MediaDevices | undefined = navigator.mediaDevices;
  if (!globalThis.isSecureContext || !available) {
    throw new LiveError(
      'media/insecure-context',
      'this address is not secure, so the browser gives no camera',
    );
  }
  try {
    return await ask(available);
  } catch (cause) {
    throw captureError(cause);
  }
}

/** The names that browsers give to refused captures (Media Capture and Streams §10.1.3). */
export function captureError(cause: unknown): LiveError {
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : '';
  const fields = { cause };
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new LiveError(
        'media/permission-denied',
        'the camera, microphone or screen was not allowed',
        fields,
      );
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new LiveError('media/device-not-found', 'no such camera or microphone', fields);
    default:
      return new LiveError('media/device-in-use', 'the camera or microphone does not start', fields);
  }
}
