/** Changes that a test makes to a server's answer before the browser sees it. */

/** Leaves only the candidates of one transport, so that the media must take it. */
export function onlyTransport(sdp: string, transport: 'udp' | 'tcp'): string {
  const lines = sdp.split('\r\n');
  const kept = lines.filter(
    (line) => !line.startsWith('a=candidate:') || line.split(' ')[2]?.toLowerCase() === transport,
  );
  if (!kept.some((line) => line.startsWith('a=candidate:')))
    throw new Error(`the answer has no ${transport} candidate`);
  return kept.join('\r\n');
}

/** Leaves one UDP candidate and puts another address into it, so that the media must go there. */
export function onlyThrough(sdp: string, address: string): string {
  const [host, port] = [
    address.slice(0, address.lastIndexOf(':')),
    address.slice(address.lastIndexOf(':') + 1),
  ];
  let kept = 0;
  const lines = onlyTransport(sdp, 'udp')
    .split('\r\n')
    .filter((line) => !line.startsWith('a=candidate:') || kept++ === 0);
  const moved = /^(a=candidate:\S+ \d+ \S+ \d+) \S+ \d+ /;
  return lines.map((line) => line.replace(moved, `$1 ${host} ${port} `)).join('\r\n');
}

/** Lets the browser's encoder begin at a rate, kbit/s, instead of working its way up for a quarter of a minute. */
export function startBitrate(sdp: string, kbps: number): string {
  const parameter = `x-google-start-bitrate=${kbps}`;
  const formats = /^m=video \S+ \S+ (.*)$/m.exec(sdp)?.[1]?.split(' ') ?? [];
  return formats.reduce((text, format) => {
    const line = new RegExp(`^a=fmtp:${format} .*$`, 'm');
    if (line.test(text)) return text.replace(line, (found) => `${found};${parameter}`);
    const map = new RegExp(`^a=rtpmap:${format} (?:VP8|VP9|AV1|H264)/.*$`, 'm');
    return text.replace(map, (found) => `${found}\r\na=fmtp:${format} ${parameter}`);
  }, sdp);
}
