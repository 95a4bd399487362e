/** What limits count by where nobody has identified itself. */
import { isIPv6 } from 'node:net';

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
/** Groups of 16 bits in the network of an IPv6 address: one customer gets a /64 at least. */
const NETWORK_GROUPS = 4;

/** An IPv4 address, or the /64 network of an IPv6 address. */
export function addressKey(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'address unknown';
  const mapped = MAPPED_IPV4.exec(remoteAddress)?.[1];
  if (mapped !== undefined) return `address ${mapped}`;
  if (!isIPv6(remoteAddress)) return `address ${remoteAddress}`;
  const [head = '', tail = ''] = remoteAddress.replace(/%.*$/, '').split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0');
  const groups = [...first, ...zeros, ...last].map((group) => Number.parseInt(group, 16).toString(16));
  return `network ${groups.slice(0, NETWORK_GROUPS).join(':')}::/64`;
}
