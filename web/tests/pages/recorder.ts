/** Notes what a page does, without changing it. */

/** One request and its outcome. */
export interface Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** `performance.now()` when it was sent. */
  readonly startedAt: number;
  /** 0 while there is no answer. */
  status: number;
}

/** Notes every request of this page. */
export function recordExchanges(into: Exchange[]): void {
  const original = window.fetch.bind(window);
  window.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const exchange: Exchange = {
      method: init?.method ?? 'GET',
      url,
      headers: Object.fromEntries(new Headers(init?.headers)),
      body: typeof init?.body === 'string' ? init.body : '',
      startedAt: performance.now(),
      status: 0,
    };
    into.push(exchange);
    const response = await original(input, init);
    exchange.status = response.status;
    return response;
  };
}

/** Notes every connection that this page makes. */
export function recordConnections(into: RTCPeerConnection[]): void {
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      into.push(this);
    }
  };
}
