/** Readings of `RTCPeerConnection.getStats`, as rates over the time since the reading before. */

/** What the browser sends of one layer. */
export interface LayerStats {
  readonly rid: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** bit/s */
  readonly bitrate: number;
  readonly codec: string;
  readonly limitedBy: 'none' | 'cpu' | 'bandwidth' | 'other';
  readonly active: boolean;
}

/** One reading of a publisher's connection. */
export interface PublishStats {
  readonly layers: readonly LayerStats[];
  /** bit/s */
  readonly audioBitrate: number;
  readonly rttMs: number | null;
  /** Share of packets that the server missed, 0 to 1. */
  readonly lossRatio: number;
  /** What the browser believes the uplink can carry, bit/s. */
  readonly availableBitrate: number | null;
}

/** One reading of a viewer's connection. */
export interface WatchStats {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** bit/s, audio and video */
  readonly bitrate: number;
  readonly codec: string;
  readonly rttMs: number | null;
  readonly lossRatio: number;
  /** Mean time that frames of this interval waited in the jitter buffer. */
  readonly bufferMs: number;
  readonly decodeMs: number;
  readonly framesDecoded: number;
  readonly audioPackets: number;
  readonly freezeCount: number;
  /** Cumulative. */
  readonly freezeMs: number;
  readonly protocol: string;
}

type Entry = Readonly<Record<string, unknown>>;

/** Reads one connection again and again. */
export class StatsReader {
  readonly #connection: RTCPeerConnection;
  #before = new Map<string, Entry>();
  #now = new Map<string, Entry>();

  constructor(connection: RTCPeerConnection) {
    this.#connection = connection;
  }

  async publish(): Promise<PublishStats> {
    await this.#read();
    const outbound = this.#all('outbound-rtp');
    const remote = this.#all('remote-inbound-rtp');
    const pair = this.#pair();
    const fractions = remote
      .filter((entry) => entry['kind'] === 'video')
      .map((entry) => num(entry, 'fractionLost'));
    return {
      layers: outbound.filter((entry) => entry['kind'] === 'video').map((entry) => this.#layer(entry)),
      audioBitrate: sum(
        outbound
          .filter((entry) => entry['kind'] === 'audio')
          .map((entry) => this.#bitrate(entry, 'bytesSent')),
      ),
      rttMs: rtt(pair),
      lossRatio: Math.max(0, ...fractions),
      availableBitrate:
        typeof pair?.['availableOutgoingBitrate'] === 'number' ? pair['availableOutgoingBitrate'] : null,
    };
  }

  async watch(): Promise<WatchStats> {
    await this.#read();
    const inbound = this.#all('inbound-rtp');
    const video = inbound.find((entry) => entry['kind'] === 'video') ?? {};
    const audio = inbound.find((entry) => entry['kind'] === 'audio') ?? {};
    const pair = this.#pair();
    const received = this.#grown(video, 'packetsReceived');
    const lost = Math.max(0, this.#grown(video, 'packetsLost'));
    const emitted = this.#grown(video, 'jitterBufferEmittedCount');
    const decoded = this.#grown(video, 'framesDecoded');
    return {
      width: num(video, 'frameWidth'),
      height: num(video, 'frameHeight'),
      fps: num(video, 'framesPerSecond'),
      bitrate: sum(inbound.map((entry) => this.#bitrate(entry, 'bytesReceived'))),
      codec: this.#codec(video),
      rttMs: rtt(pair),
      lossRatio: received + lost > 0 ? lost / (received + lost) : 0,
      bufferMs: emitted > 0 ? (1000 * this.#grown(video, 'jitterBufferDelay')) / emitted : 0,
      decodeMs: decoded > 0 ? (1000 * this.#grown(video, 'totalDecodeTime')) / decoded : 0,
      framesDecoded: num(video, 'framesDecoded'),
      audioPackets: num(audio, 'packetsReceived'),
      freezeCount: num(video, 'freezeCount'),
      freezeMs: 1000 * num(video, 'totalFreezesDuration'),
      protocol: text(this.#now.get(text(pair ?? {}, 'localCandidateId')) ?? {}, 'protocol'),
    };
  }

  async #read(): Promise<void> {
    const report = await this.#connection.getStats();
    this.#before = this.#now;
    this.#now = new Map();
    report.forEach((entry: Entry, id: string) => {
      this.#now.set(id, entry);
    });
  }

  #layer(entry: Entry): LayerStats {
    const limited = entry['qualityLimitationReason'];
    const bitrate = this.#bitrate(entry, 'bytesSent');
    return {
      rid: text(entry, 'rid'),
      width: num(entry, 'frameWidth'),
      height: num(entry, 'frameHeight'),
      fps: num(entry, 'framesPerSecond'),
      bitrate,
      codec: this.#codec(entry),
      limitedBy: limited === 'cpu' || limited === 'bandwidth' || limited === 'other' ? limited : 'none',
      active: entry['active'] !== false && bitrate > 0,
    };
  }

  #all(type: string): Entry[] {
    return [...this.#now.values()].filter((entry) => entry['type'] === type);
  }

  #pair(): Entry | undefined {
    const transport = this.#all('transport')[0];
    return this.#now.get(text(transport ?? {}, 'selectedCandidatePairId'));
  }

  #codec(entry: Entry): string {
    return text(this.#now.get(text(entry, 'codecId')) ?? {}, 'mimeType').replace(/^video\//, '');
  }

  #grown(entry: Entry, field: string): number {
    return num(entry, field) - num(this.#before.get(text(entry, 'id')) ?? {}, field);
  }

  #bitrate(entry: Entry, field: string): number {
    const before = this.#before.get(text(entry, 'id'));
    const seconds = before ? (num(entry, 'timestamp') - num(before, 'timestamp')) / 1000 : 0;
    return seconds > 0 ? Math.max(0, (8 * this.#grown(entry, field)) / seconds) : 0;
  }
}

function num(entry: Entry, field: string): number {
  const value = entry[field];
  return typeof value === 'number' ? value : 0;
}

function text(entry: Entry, field: string): string {
  const value = entry[field];
  return typeof value === 'string' ? value : '';
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function rtt(pair: Entry | undefined): number | null {
  const seconds = pair?.['currentRoundTripTime'];
  return typeof seconds === 'number' ? seconds * 1000 : null;
}
