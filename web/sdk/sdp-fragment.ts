/**
 * SDP fragments for trickle ICE and ICE restart (RFC 8840 §9, RFC 9725 §4.3).
 */

/** The ICE credentials of one side. */
export interface IceCredentials {
  readonly ufrag: string;
  readonly pwd: string;
}

/** What {@link buildFragment} writes. */
export interface FragmentParts {
  readonly credentials: IceCredentials;
  /** Identification of the first media section; with BUNDLE it stands for all. */
  readonly mid: string;
  readonly kind: string;
  /** Values of `RTCIceCandidate.candidate`. */
  readonly candidates: readonly string[];
  readonly endOfCandidates: boolean;
}

/** What a server answers to an ICE restart. */
export interface RestartAnswer {
  readonly credentials: IceCredentials;
  /** `a=candidate:` and `a=end-of-candidates` lines. */
  readonly candidateLines: readonly string[];
}

const lineEnd = '\r\n';

/** Writes the body of a PATCH request. */
export function buildFragment({
  credentials,
  mid,
  kind,
  candidates,
  endOfCandidates,
}: FragmentParts): string {
  const lines = [
    `a=ice-ufrag:${credentials.ufrag}`,
    `a=ice-pwd:${credentials.pwd}`,
    `m=${kind} 9 UDP/TLS/RTP/SAVPF 0`,
    `a=mid:${mid}`,
    ...candidates.map((candidate) => `a=${candidate.replace(/^a=/, '')}`),
    ...(endOfCandidates ? ['a=end-of-candidates'] : []),
  ];
  return lines.join(lineEnd) + lineEnd;
}

/** The ICE credentials of a description or fragment, or null when it has none. */
export function iceCredentials(sdp: string): IceCredentials | null {
  const ufrag = /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];
  const pwd = /^a=ice-pwd:(\S+)/m.exec(sdp)?.[1];
  return ufrag && pwd ? { ufrag, pwd } : null;
}

/** Reads the fragment that a server answers to an ICE restart; null when it has no credentials. */
export function parseRestartAnswer(fragment: string): RestartAnswer | null {
  const credentials = iceCredentials(fragment);
  if (!credentials) return null;
  const candidateLines = fragment
    .split(/\r?\n/)
    .filter((line) => /^a=(candidate:|end-of-candidates)/.test(line));
  return { credentials, candidateLines };
}

/** The earlier answer with the credentials and candidates of a restart in it. */
export function applyRestart(answer: string, { credentials, candidateLines }: RestartAnswer): string {
  const lines: string[] = [];
  let sections = 0;
  for (const line of answer.split(/\r?\n/)) {
    if (line === '' || /^a=(candidate:|end-of-candidates)/.test(line)) continue;
    if (line.startsWith('m=')) {
      // Candidates belong into the first section, at its end.
      if (sections === 1) lines.push(...candidateLines);
      sections += 1;
    }
    if (line.startsWith('a=ice-ufrag:')) lines.push(`a=ice-ufrag:${credentials.ufrag}`);
    else if (line.startsWith('a=ice-pwd:')) lines.push(`a=ice-pwd:${credentials.pwd}`);
    else lines.push(line);
  }
  if (sections === 1) lines.push(...candidateLines);
  return lines.join(lineEnd) + lineEnd;
}
