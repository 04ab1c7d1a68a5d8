import { describe, expect, it } from 'vitest';
import { weightedAddresses } from './node-list.js';

const PORTS = { ws_port: 3102, wss_port: 3103, tcp_port: 3101, tcp_tls_port: 3104 };
const reply = (data: object) => ({ code: 0, data: { nodes: ['a.example', '::1'], ...data } });

describe('the addresses of a node list', () => {
  it.each([
    ['plain where the list came without TLS', PORTS, false, ['ws://H:3102/sub', 'tcp://H:3101']],
    ['with TLS where the list came with it', PORTS, true, ['wss://H:3103/sub', 'tls://H:3104']],
    [
      'plain at a node without TLS',
      { ...PORTS, wss_port: 0, tcp_tls_port: 0 },
      true,
      ['ws://H:3102/sub', 'tcp://H:3101'],
    ],
    ['those of the doors that are open', { wss_port: 3103 }, true, ['wss://H:3103/sub']],
    ['none where the plain doors are shut and the list came without TLS', { wss_port: 3103 }, false, []],
  ])('are %s', (_, ports, isSecure, expected) => {
    const ofHost = (host: string) => expected.map((address) => address.replace('H', host));
    const found = weightedAddresses(reply(ports), isSecure);
    expect(found.toSorted()).toEqual([...ofHost('a.example'), ...ofHost('[::1]')].toSorted());
  });

  it('are best node first, WebSocket before TCP', () => {
    expect(weightedAddresses(reply(PORTS), false).map((address) => new URL(address).host)).toEqual([
      'a.example:3102',
      '[::1]:3102',
      'a.example:3101',
      '[::1]:3101',
    ]);
  });

  it('are none where the reply is none', () => {
    for (const nothing of [null, undefined, 'text', {}, { data: null }, { data: { nodes: 'a' } }]) {
      expect(weightedAddresses(nothing, true)).toEqual([]);
    }
  });
});
