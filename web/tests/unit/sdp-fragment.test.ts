import { expect, test } from 'vitest';
import { applyRestart, buildFragment, iceCredentials, parseRestartAnswer } from '../../sdk/sdp-fragment.ts';

const candidate = 'candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host';

test('a fragment names the credentials, the first section and its candidates, line by line', () => {
  const fragment = buildFragment({
    credentials: { ufrag: 'abcd', pwd: 'secret' },
    mid: '0',
    kind: 'audio',
    candidates: [candidate, `a=${candidate}`],
    endOfCandidates: true,
  });

  expect(fragment).toBe(
    [
      'a=ice-ufrag:abcd',
      'a=ice-pwd:secret',
      'm=audio 9 UDP/TLS/RTP/SAVPF 0',
      'a=mid:0',
      `a=${candidate}`,
      `a=${candidate}`,
      'a=end-of-candidates',
      '',
    ].join('\r\n'),
  );
});

test('credentials are found in a description, and missing ones are noticed', () => {
  expect(iceCredentials('v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n')).toEqual({ ufrag: 'u', pwd: 'p' });
  expect(iceCredentials('v=0\r\na=ice-ufrag:u\r\n')).toBeNull();
});

test('the answer to a restart replaces credentials everywhere and candidates in the first section', () => {
  const answer = [
    'v=0',
    'a=group:BUNDLE 0 1',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    'a=ice-ufrag:old',
    'a=ice-pwd:oldpwd',
    'a=candidate:9 1 udp 1 198.51.100.1 9 typ host',
    'a=end-of-candidates',
    'a=mid:0',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'a=ice-ufrag:old',
    'a=ice-pwd:oldpwd',
    'a=mid:1',
    '',
  ].join('\r\n');
  const restart = parseRestartAnswer(
    `a=ice-ufrag:new\r\na=ice-pwd:newpwd\r\na=${candidate}\r\na=end-of-candidates\r\n`,
  );
  if (!restart) throw new Error('the fragment was not read');

  expect(applyRestart(answer, restart).split('\r\n')).toEqual([
    'v=0',
    'a=group:BUNDLE 0 1',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    'a=ice-ufrag:new',
    'a=ice-pwd:newpwd',
    'a=mid:0',
    `a=${candidate}`,
    'a=end-of-candidates',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'a=ice-ufrag:new',
    'a=ice-pwd:newpwd',
    'a=mid:1',
    '',
  ]);
});

test('an answer with one section takes the candidates at its end', () => {
  const restart = { credentials: { ufrag: 'n', pwd: 'p' }, candidateLines: [`a=${candidate}`] };

  expect(applyRestart('v=0\r\nm=video 9 x 96\r\na=ice-ufrag:o\r\na=ice-pwd:o\r\n', restart)).toBe(
    `v=0\r\nm=video 9 x 96\r\na=ice-ufrag:n\r\na=ice-pwd:p\r\na=${candidate}\r\n`,
  );
});

test('a restart answered without credentials is no answer', () => {
  expect(parseRestartAnswer('a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n')).toBeNull();
});
