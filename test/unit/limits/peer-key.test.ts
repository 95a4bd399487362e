import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { addressKey } from '../../../src/limits/peer-key.js';

describe('addressKey', () => {
  it('is the address for IPv4, mapped into IPv6 or not, and the /64 network for IPv6', () => {
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
