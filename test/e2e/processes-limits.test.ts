import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { describe, it } from 'mocha';
import { stringify } from 'yaml';
import { type SaladClient, SaladClientError } from '../../clients/typescript/src/index.js';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { type Authority, makeAuthority } from '../support/network/certificates.js';
import { type HeldAcquisition, holdAcquisition } from '../support/servers/held-acquisition.js';
import { smallHeader, smallImage, smallRows } from '../support/servers/small-server.js';
import { PROCESSES, useTwoProcesses } from '../support/servers/two-processes.js';

const chunks = smallRows(smallImage(1));
const POLL_MS = 20;

describe('the limits and files of a server with two processes', function () {
  this.timeout(120_000);
  const two = useTwoProcesses();
  const { start, client, registry } = two;

  it('runs maxConcurrentAcquisitions in both processes together, and refuses one more in each', async () => {
    await start({ maxConcurrentAcquisitions: 3, peerShareRatio: 0 });
    const running: HeldAcquisition[] = [];
    const refused: (string | undefined)[] = [];
    for (const each of [client(), client()]) {
      // The limit of one server in each process would accept all six.
      for (let attempt = 0; attempt < 3; attempt++) {
        await holdAcquisition(each).then(
          (held) => running.push(held),
          (error: unknown) => refused.push(error instanceof SaladClientError ? error.reason : String(error)),
        );
      }
    }
    assert.deepEqual([running.length, refused], [3, ['OVERLOADED', 'OVERLOADED', 'OVERLOADED']]);
    for (const { release } of running) release();
    for (const { outcome } of running) assert.equal((await outcome).coverage?.scored, 64);
  });

  it('takes a changed certificate and changed API keys in both processes', async () => {
    const at = (name: string) => join(two.folder, name);
    const authority = await makeAuthority();
    const certify = async (commonName: string) => {
      const { certificate, privateKey } = await authority.issue({ commonName });
      // A key without its certificate, when the server reads between the two, is not used.
      await writeFile(at('own.key'), privateKey);
      await writeFile(at('own.pem'), certificate);
    };
    const allowOnly = ({ entry }: ReturnType<typeof makeApiKey>) =>
      writeFile(at('keys.yaml'), stringify({ keys: [entry] }));
    const [before, later] = ['before', 'later'].map((name) => makeApiKey({ name, scopes: ['score'] }));
    await certify('before');
    await allowOnly(before!);
    const files = { tlsCertFile: at('own.pem'), tlsKeyFile: at('own.key'), authApiKeysFile: at('keys.yaml') };
    await start({ ...files, securityReloadMs: POLL_MS });
    const clients = ({ key }: ReturnType<typeof makeApiKey>) =>
      Array.from({ length: PROCESSES }, () => client({ apiKey: key, tls: { ca: authority.certificate } }));
    const [allowed, unknown] = [clients(before!), clients(later!)];
    const statuses = async (all: readonly SaladClient[]) => {
      const found: string[] = [];
      for (const each of all) {
        const call = each.scoreAcquisition(smallHeader('key'), chunks);
        found.push(
          await call.then(
            () => 'OK',
            (error: SaladClientError) => String(error.status),
          ),
        );
      }
      return found;
    };
    const [accepted, rejected] = ['OK', 'UNAUTHENTICATED'].map((status) => [status, status]);
    assert.deepEqual([await statuses(allowed), await statuses(unknown)], [accepted, rejected]);
    assert.deepEqual(await commonNames(two.server.address, authority), new Array(4).fill('before'));
    await certify('later');
    await allowOnly(later!);
    // Of connections that stay open, so that both processes answer.
    await eventually(async () =>
      assert.deepEqual([await statuses(allowed), await statuses(unknown)], [rejected, accepted]),
    );
    await eventually(async () =>
      assert.deepEqual(await commonNames(two.server.address, authority), new Array(4).fill('later')),
    );
  });

  it('serves and unloads in both processes what changes in a watched folder', async () => {
    const own = join(two.folder, 'watched');
    await writeSmallBundle(own);
    const later = await writeSmallBundle(join(two.folder, 'later'), { version: 2 });
    await start({ modelsPollMs: POLL_MS }, own);
    const [one, other] = [registry(), registry()];
    const both = async (expected: readonly string[]) =>
      assert.deepEqual([await one.states(), await other.states()], [expected, expected]);
    await both(['small@1 serving*']);
    await rename(later.directory, join(own, 'small/2'));
    await eventually(() => both(['small@1 serving', 'small@2 serving*']));
    await rm(join(own, 'small/1'), { recursive: true });
    await eventually(() => both(['small@2 serving*']));
  });
});

/** Of the certificates of four connections that are open at once, so that each process has answered two. */
async function commonNames(address: string, { certificate }: Authority): Promise<readonly string[]> {
  const sockets: TLSSocket[] = [];
  try {
    for (let index = 0; index < 2 * PROCESSES; index++) {
      const socket = connect({
        ...{ host: '127.0.0.1', port: Number(address.split(':')[1]), servername: 'localhost' },
        ...{ ca: certificate, ALPNProtocols: ['h2'] },
      });
      sockets.push(socket);
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject).once('secureConnect', () => resolve());
      });
    }
    return sockets.map((socket) => String(socket.getPeerCertificate().subject.CN));
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}
