import { LiveError } from './error.ts';
import { isRecord, readJson, request, type TokenSource } from './http.ts';

/** One simulcast encoding of the room's video, as the server measures it. */
export interface Quality {
  /** The rid, empty without simulcast; its name and order say nothing about its size. */
  readonly id: string;
  /** Made from the measured height. */
  readonly label: string;
  readonly width?: number;
  readonly height?: number;
  readonly fps?: number;
  /** bit/s */
  readonly bitrate?: number;
  readonly codec?: string;
  /** Whether it can be had: it is being sent, or rests until somebody wants it. */
  readonly active: boolean;
}

/** The discovery document of a room. */
export interface RoomInfo {
  readonly whep: URL;
  readonly whip: URL | null;
  readonly live: boolean;
  readonly viewers: number;
  readonly qualities: readonly Quality[];
}

/** Options of {@link discover}. */
export interface DiscoverOptions {
  readonly token?: TokenSource;
  readonly signal?: AbortSignal;
}

/** Asks for the discovery document of a room by the URL of its page. */
export async function discover(url: URL, options: DiscoverOptions = {}): Promise<RoomInfo> {
  const response = await request(url, { method: 'GET', headers: { Accept: 'application/json' }, ...options });
  const info = decodeRoom(await readJson(response, options.signal), url);
  if (!info) throw new LiveError('protocol/bad-response', `${url.pathname} gave no discovery document`);
  return info;
}

/** Decodes a discovery document; null when it is none. */
export function decodeRoom(body: unknown, base: URL): RoomInfo | null {
  if (!isRecord(body)) return null;
  const whep = url(body['whep'], base);
  if (!whep) return null;
  return {
    whep,
    whip: url(body['whip'], base),
    live: body['live'] === true,
    viewers: number(body['viewers']) ?? 0,
    qualities: decodeQualities(body['layers']),
  };
}

/** Decodes a list of layers, highest first; entries that are none are left out. */
export function decodeQualities(layers: unknown): Quality[] {
  if (!Array.isArray(layers)) return [];
  return layers
    .map(decodeQuality)
    .filter((quality) => quality !== null)
    .sort((a, b) => (b.height ?? 0) - (a.height ?? 0) || (b.bitrate ?? 0) - (a.bitrate ?? 0));
}

function decodeQuality(layer: unknown): Quality | null {
  if (!isRecord(layer)) return null;
  const id = typeof layer['rid'] === 'string' ? layer['rid'] : '';
  const height = number(layer['height']);
  const optional = {
    width: number(layer['width']),
    height,
    fps: number(layer['fps']),
    bitrate: number(layer['bitrate']),
    codec: typeof layer['codec'] === 'string' ? layer['codec'] : undefined,
  };
  const known = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined));
  const label = height ? `${height}p` : `Layer ${id}`.trim();
  return { id, label, active: layer['active'] !== false || layer['resting'] === true, ...known };
}

/** Whether media can be expected: somebody is live, and not every layer has fallen silent. */
export function isSending({ live, qualities }: RoomInfo): boolean {
  return live && (qualities.length === 0 || qualities.some(({ active }) => active));
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined;
}

function url(value: unknown, base: URL): URL | null {
  if (typeof value !== 'string') return null;
  try {
    return new URL(value, base);
  } catch {
    return null;
  }
}
