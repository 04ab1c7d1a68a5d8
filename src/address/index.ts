/**
 * address: IP addresses as numbers, blocks of them, and whose request it is behind proxies.
 *
 * The HTTP API (`logic/`) and the doors of the buckets (`comet/`) both ask, and must agree: a client has one address.
 * `ClientAddress` is the way in; `parseIp` and `CidrTable` are what it is built from.
 *
 * Anyone may import this folder. It imports only `errors/`.
 */
export { type CidrRule, CidrTable } from './cidr-table.js';
export { ClientAddress, FORWARDED_HEADERS, type ForwardedHeader, type RequestPeer } from './client-address.js';
export { type Cidr, fixedMask, type IpFamily, parseCidr, parseIp } from './ip-address.js';
