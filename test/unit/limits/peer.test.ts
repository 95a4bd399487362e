import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { addressKey } from '../../../src/limits/peer.js';

describe('addressKey', () => {
  it('counts IPv4 by address, mapped into IPv6 or not, and IPv6 by network', () => {
    const keys = {
      '192.0.2.7': 'address 192.0.2.7',
      '::ffff:192.0.2.7': 'address 192.0.2.7',
      '2001:db8:1:2:3:4:5:6': 'network 2001:db8:1:2::/64',
      '2001:db8:1:2::9': 'network 2001:db8:1:2::/64',
      '2001:0DB8:0001:0002::9': 'network 2001:db8:1:2::/64',
      '::1': 'network 0:0:0:0::/64',
      'fe80::1%eth0': 'network fe80:0:0:0::/64',
    };
    for (const [address, key] of Object.entries(keys)) assert.equal(addressKey(address), key);
    assert.equal(addressKey(undefined), 'address unknown');
  });
});
