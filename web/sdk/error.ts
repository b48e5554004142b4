/** What went wrong, as a stable word that a program can act on. */
export type ErrorCode =
  | 'auth/missing'
  | 'auth/expired'
  | 'auth/denied'
  | 'room/not-found'
  | 'session/not-found'
  | 'stream/conflict'
  | 'stream/offline'
  | 'offer/syntax'
  | 'offer/unsupported'
  | 'ice/stale-etag'
  | 'ice/missing-etag'
  | 'net/unreachable'
  | 'net/timeout'
  | 'net/ice-failed'
  | 'media/permission-denied'
  | 'media/device-not-found'
  | 'media/device-in-use'
  | 'media/codec'
  | 'media/insecure-context'
  | 'media/stalled'
  | 'rate-limited'
  | 'server/overloaded'
  | 'server/draining'
  | 'server/internal'
  | 'protocol/bad-response';

/** The fields of a {@link LiveError} beside its code and message. */
export interface LiveErrorFields {
  /** HTTP status, when there was an answer. */
  readonly status?: number;
  /** How long the server asked us to wait. */
  readonly retryAfterMs?: number;
  /** One sentence that somebody can act on; by default the one that belongs to the code. */
  readonly hint?: string;
  /** Finds the line in the server's log. */
  readonly requestId?: string;
  readonly cause?: unknown;
}

const hints: Readonly<Record<ErrorCode, string>> = {
  'auth/missing': 'This room wants a token.',
  'auth/expired': 'Ask for a new link: the token has run out.',
  'auth/denied': 'This token does not allow it.',
  'room/not-found': 'Check the name of the room.',
  'session/not-found': 'The session has ended; a new one is opened.',
  'stream/conflict': 'Somebody else is live in this room. We go on asking until it is free.',
  'stream/offline': 'Nobody is live yet. Playback starts by itself.',
  'offer/syntax': 'The server did not understand the browser. Please report it with the name of the browser.',
  'offer/unsupported': 'The server cannot serve this browser. Try a current Chrome, Edge, Firefox or Safari.',
  'ice/stale-etag': 'The session was restarted from elsewhere; a new one is opened.',
  'ice/missing-etag': 'A proxy removed the If-Match header; let it through.',
  'net/unreachable': 'Check that the server runs and that this device is online.',
  'net/timeout': 'The server did not answer in time. Check the network.',
  'net/ice-failed':
    'No media path was found. Is the UDP port of the server open, or the TCP port that this page came from?',
  'media/permission-denied': "Allow camera and microphone for this page in the browser's address bar.",
  'media/device-not-found': 'Plug in a camera or microphone, or choose another one.',
  'media/device-in-use': 'Close the other program that is using the camera or microphone.',
  'media/codec': 'Choose another codec: this browser cannot use this one.',
  'media/insecure-context':
    'Open this page over https:// or on http://localhost: browsers give cameras to no other page.',
  'media/stalled': 'No picture is arriving. We are opening a new session.',
  'rate-limited': 'Too many requests from this address; wait a moment.',
  'server/overloaded': 'The server is full; we try again by ourselves.',
  'server/draining': 'The server is restarting; we try again by ourselves.',
  'server/internal': 'The server has a fault; its log tells more. We try again by ourselves.',
  'protocol/bad-response':
    'This does not look like a WHIP or WHEP endpoint, or it hides its headers (Access-Control-Expose-Headers).',
};

const codes: ReadonlySet<string> = new Set(Object.keys(hints));

const fatal: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'auth/missing',
  'auth/expired',
  'auth/denied',
  'offer/syntax',
  'offer/unsupported',
  'media/permission-denied',
  'media/device-not-found',
  'media/device-in-use',
  'media/codec',
  'media/insecure-context',
  'protocol/bad-response',
]);

/** The one error that this library throws and reports. */
export class LiveError extends Error {
  override readonly name = 'LiveError';
  readonly code: ErrorCode;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly hint: string;
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, fields: LiveErrorFields = {}) {
    super(message, { cause: fields.cause });
    this.code = code;
    this.status = fields.status;
    this.retryAfterMs = fields.retryAfterMs;
    this.hint = fields.hint ?? hints[code];
    this.requestId = fields.requestId;
  }

  /** Whether trying again later can help. */
  get retryable(): boolean {
    return !fatal.has(this.code);
  }
}

/** Tells a {@link LiveError}, of a given code if one is named, from anything else. */
export function isLiveError(error: unknown, code?: ErrorCode): error is LiveError {
  return error instanceof LiveError && (code === undefined || error.code === code);
}

/** Tells one of our codes from other text. */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && codes.has(text);
}

/** Whether this is the abort of an operation, which is nobody's failure. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}
