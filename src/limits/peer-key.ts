/** Names peers that have no identity by their address. */
import { isIPv6 } from 'node:net';

const IPV4_MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const ADDRESS_GROUPS = 8;
/** Groups of 16 bits in a /64 network, the least that an IPv6 provider assigns to one customer. */
const NETWORK_GROUPS = 4;

/** @returns such as `address 192.0.2.7` or, for the /64 network of an IPv6 address, `network 2001:db8:1:2::/64` */
export function addressKey(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'address unknown';
  const ipv4 = IPV4_MAPPED.exec(remoteAddress)?.[1];
  if (ipv4 !== undefined) return `address ${ipv4}`;
  if (!isIPv6(remoteAddress)) return `address ${remoteAddress}`;
  const [head = '', tail = ''] = remoteAddress.replace(/%.*$/, '').split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === '' ? [] : tail.split(':');
  const zeroCount = Math.max(0, ADDRESS_GROUPS - first.length - last.length);
  const zeros = Array.from({ length: zeroCount }, () => '0');
  const groups = [...first, ...zeros, ...last].map((group) => Number.parseInt(group, 16).toString(16));
  return `network ${groups.slice(0, NETWORK_GROUPS).join(':')}::/64`;
}
