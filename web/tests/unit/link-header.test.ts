import { expect, test } from 'vitest';
import { iceServers, parseLinkHeader } from '../../sdk/link-header.ts';

test('several links in one header are told apart, also with commas inside quotes and targets', () => {
  const links = parseLinkHeader(
    '<stun:a.example:3478>; rel="ice-server", <turn:b.example?transport=udp>; rel=ice-server; username="u,1"; ' +
      'credential="p;\\"2\\""; credential-type="password", </x,y>; rel="urn:ietf:params:whep:ext:core:layer"',
  );

  expect(links).toEqual([
    { target: 'stun:a.example:3478', rel: 'ice-server', parameters: {} },
    {
      target: 'turn:b.example?transport=udp',
      rel: 'ice-server',
      parameters: { username: 'u,1', credential: 'p;"2"', 'credential-type': 'password' },
    },
    { target: '/x,y', rel: 'urn:ietf:params:whep:ext:core:layer', parameters: {} },
  ]);
});

test('no header, an empty one and one without a relation give nothing', () => {
  expect(parseLinkHeader(null)).toEqual([]);
  expect(parseLinkHeader('')).toEqual([]);
  expect(parseLinkHeader('</a>; title="x", nonsense')).toEqual([]);
});

test('only stun and turn links become ICE servers', () => {
  const links = parseLinkHeader(
    '<turn:t.example>; rel="ice-server"; username="u"; credential="p", <https://evil.example>; rel="ice-server", ' +
      '<stun:s.example>; rel="other"',
  );

  expect(iceServers(links)).toEqual([{ urls: 'turn:t.example', username: 'u', credential: 'p' }]);
});
