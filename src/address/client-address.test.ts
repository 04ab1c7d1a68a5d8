import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientAddress } from './client-address.js';

function addressOf(
  clients: ClientAddress,
  remoteAddress: string | undefined,
  forwardedFor?: string | string[],
): string {
  return clients.of({ socket: { remoteAddress }, headers: { 'x-forwarded-for': forwardedFor } });
}

describe('without trusted proxies', () => {
  it('the socket alone says who the client is', () => {
    const clients = new ClientAddress([]);
    expect(addressOf(clients, '10.0.0.9', '203.0.113.5')).toBe('10.0.0.9');
    expect(addressOf(clients, '::ffff:10.0.0.9')).toBe('::ffff:10.0.0.9');
    expect(addressOf(clients, 'fe80::1%eth0')).toBe('fe80::1');
    expect(addressOf(clients, undefined, '203.0.113.5')).toBe('');
  });
});

describe('behind trusted proxies', () => {
  const clients = new ClientAddress(['10.0.0.0/8', '2001:db8:1::/48']);

  it.each([
    ['the one it names', '10.0.0.1', '203.0.113.5', '203.0.113.5'],
    ['the socket where the header is missing', '10.0.0.1', undefined, '10.0.0.1'],
    ['the socket where it is no proxy, whatever it writes', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['the rightmost address that is no proxy', '10.0.0.1', '203.0.113.5, 10.0.0.2, 10.0.0.3', '203.0.113.5'],
    ['not what the client wrote itself', '10.0.0.1', '198.51.100.1, 203.0.113.5', '203.0.113.5'],
    ['not a proxy address that the client wrote itself', '10.0.0.1', '10.9.9.9, 203.0.113.5, 10.0.0.2', '203.0.113.5'],
    ['a client inside our own net', '10.0.0.1', '10.0.0.7', '10.0.0.7'],
    ['the proxy in front of a part that is no address', '10.0.0.1', '203.0.113.5, unknown, 10.0.0.2', '10.0.0.2'],
    ['the proxy in front of an empty part', '10.0.0.1', '203.0.113.5,,', '10.0.0.1'],
    ['an address without its port', '10.0.0.1', '203.0.113.5:4711', '203.0.113.5'],
    ['an IPv6 address in brackets', '10.0.0.1', '[2001:db8:2::5]:4711', '2001:db8:2::5'],
    ['an IPv6 client of an IPv6 proxy', '2001:db8:1::1', '2001:db8:2::5', '2001:db8:2::5'],
    ['one behind a proxy that shows itself in IPv6 form', '::ffff:10.0.0.1', '203.0.113.5', '203.0.113.5'],
  ])('it is %s', (_, remoteAddress, forwardedFor, expected) => {
    expect(addressOf(clients, remoteAddress, forwardedFor)).toBe(expected);
  });

  it('reads a header that came several times as one list', () => {
    expect(addressOf(clients, '10.0.0.1', ['198.51.100.1', '203.0.113.5'])).toBe('203.0.113.5');
  });

  it('cannot be told otherwise by anything that a client writes', () => {
    const part = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constantFrom('10.0.0.1', '127.0.0.1', '', ' '));
    const written = fc.oneof(
      fc.array(part, { maxLength: 8 }).map((parts) => parts.join(',')),
      fc.string(),
    );
    const hops = fc.array(fc.constantFrom('10.0.0.2', '10.200.3.4', '2001:db8:1::9'), { maxLength: 3 });
    fc.assert(
      fc.property(written, hops, (spoofed, proxies) => {
        const forwardedFor = [spoofed, '203.0.113.5', ...proxies].join(', ');
        expect(addressOf(clients, '10.0.0.1', forwardedFor)).toBe('203.0.113.5');
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a trusted proxy', () => {
  it('must be an address or a block', () => {
    expect(() => new ClientAddress(['10.0.0.1', 'proxy.example.org'])).toThrow(
      expect.objectContaining({ code: 'TRUSTED_PROXY_INVALID', details: { item: 2, text: 'proxy.example.org' } }),
    );
  });
});

describe('where our proxies write Forwarded', () => {
  const clients = new ClientAddress(['10.0.0.0/8'], 'forwarded');

  it.each([
    ['the one it names', 'for=203.0.113.5', '203.0.113.5'],
    ['one among other parameters', 'proto=https;For="203.0.113.5:4711";by=10.0.0.1', '203.0.113.5'],
    ['an IPv6 address in quotes', 'for="[2001:db8:2::5]:4711"', '2001:db8:2::5'],
    ['the rightmost that is no proxy', 'for=198.51.100.1, for=203.0.113.5;proto=http, for=10.0.0.2', '203.0.113.5'],
    ['the proxy in front of a hidden name', 'for=203.0.113.5, for=_hidden', '10.0.0.1'],
    ['the proxy in front of an element without one', 'for=203.0.113.5, by=10.0.0.1', '10.0.0.1'],
    ['not what stands inside another parameter', 'host="x;for=198.51.100.1;y=z"', '10.0.0.1'],
    ['not what stands behind a comma inside another one', 'for=203.0.113.5;host="x,for=198.51.100.1"', '10.0.0.1'],
    ['the socket where the header is missing', '', '10.0.0.1'],
  ])('it is %s', (_, forwarded, expected) => {
    const headers = { forwarded, 'x-forwarded-for': '192.0.2.66' };
    expect(clients.of({ socket: { remoteAddress: '10.0.0.1' }, headers })).toBe(expected);
  });

  it('is read in no other case: a client behind a proxy that appends to X-Forwarded-For may write it', () => {
    const headers = { forwarded: 'for=192.0.2.66', 'x-forwarded-for': '203.0.113.5' };
    expect(new ClientAddress(['10.0.0.0/8']).of({ socket: { remoteAddress: '10.0.0.1' }, headers })).toBe(
      '203.0.113.5',
    );
  });
});

describe('the list of proxies', () => {
  it('says whether an address is one of them', () => {
    const clients = new ClientAddress(['10.0.0.0/8']);
    expect(['10.1.2.3', '::ffff:10.1.2.3', '11.0.0.1', ''].map((address) => clients.isProxy(address))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect([clients.trustsProxies, new ClientAddress([]).trustsProxies]).toEqual([true, false]);
  });
});
