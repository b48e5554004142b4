/** One entry of a `Link` header (RFC 8288 §3). */
export interface Link {
  readonly target: string;
  readonly rel: string;
  /** Every parameter but `rel`, names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const entry = /<([^>]*)>((?:\s*;\s*[\w!#$%&'*+.^`|~-]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",;]*))?)*)/g;
const parameter = /;\s*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*)))?/g;

/** Reads a `Link` header, also one that several headers were joined into. Entries without `rel` are left out. */
export function parseLinkHeader(header: string | null): Link[] {
  const links: Link[] = [];
  for (const [, target = '', tail = ''] of (header ?? '').matchAll(entry)) {
    const parameters: Record<string, string> = {};
    for (const [, name = '', quoted, token] of tail.matchAll(parameter)) {
      const key = name.toLowerCase();
      // The first value of a parameter counts (RFC 8288 §3.3).
      if (!(key in parameters)) parameters[key] = quoted?.replace(/\\(.)/g, '$1') ?? token ?? '';
    }
    const { rel, ...others } = parameters;
    if (rel) links.push({ target, rel, parameters: others });
  }
  return links;
}

/** The ICE servers that a WHIP or WHEP answer names (RFC 9725 §4.6). */
export function iceServers(links: readonly Link[]): RTCIceServer[] {
  return links
    .filter((link) => link.rel === 'ice-server' && /^(stun|turn)s?:/.test(link.target))
    .map(({ target, parameters: { username, credential } }) => ({
      urls: target,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    }));
}
