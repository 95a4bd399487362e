/** `salad-modality serve` with TLS on every way: C-STORE and STOW-RS in, rows out to a server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { after, afterEach, before, describe, it } from 'mocha';
import type { RunningServer } from '../../src/server/server.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../support/dicom/gateway-program.js';
import { radiographOf } from '../support/dicom/radiograph.js';
import { RawDicom } from '../support/dicom/raw-dicom.js';
import { eventually } from '../support/eventually.js';
import { makeAuthority } from '../support/network/certificates.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

describe('salad-modality over TLS', function () {
  this.timeout(120_000);
  let folder: string;
  let models: ModelsFolder;
  let server: RunningServer;
  let settings: string;
  let gateway: GatewayProcess;
  /** PEM: of the authority that issued all certificates, and of one that issued none. */
  let authorities: { readonly ours: string; readonly other: string };
  const peers: RawDicom[] = [];
  const at = (name: string) => join(folder, name);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-modality-tls-'));
    models = await smallModels();
    const [authority, other] = [await makeAuthority(), await makeAuthority('another authority')];
    authorities = { ours: authority.certificate, other: other.certificate };
    writeFileSync(at('ca.pem'), authority.certificate);
    writeFileSync(at('other-ca.pem'), other.certificate);
    for (const name of ['dicom', 'stow', 'server']) {
      const own = await authority.issue({ commonName: name });
      writeFileSync(at(`${name}.pem`), own.certificate);
      writeFileSync(at(`${name}.key`), own.privateKey);
    }
    server = await startSmall(models.path, { tlsCertFile: at('server.pem'), tlsKeyFile: at('server.key') });
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close();
    await gateway.stop('SIGKILL');
  });

  /** @param inbox a name of its own for each test @param caFile authorities that the gateway trusts for the server */
  async function start(inbox: string, caFile: string): Promise<void> {
    const port = (name: string) => ({
      ...{ listen: '127.0.0.1:0', tlsCertFile: `${name}.pem`, tlsKeyFile: `${name}.key` },
    });
    settings = writeSettings(folder, {
      inbox,
      dicom: { ...port('dicom'), callers: [{ aeTitle: 'DX1' }] },
      stow: port('stow'),
      server: { targets: [server.address], model: 'small', caFile },
    });
    gateway = await startGatewayProcess(settings);
  }

  /** @returns the status of the C-STORE */
  async function storeByTls(uid: string, ca: string): Promise<number | undefined> {
    const socket = connect({ host: '127.0.0.1', port: gateway.port, ca });
    await once(socket, 'secureConnect');
    const peer = new RawDicom(socket);
    peers.push(peer);
    await peer.associate();
    return peer.store(uid, await radiographOf(uid, { bare: true }));
  }

  /** @returns the status of the STOW-RS request */
  async function stowByTls(uid: string, ca: string): Promise<number | undefined> {
    const head = '\r\n--b\r\nContent-Type: application/dicom\r\n\r\n';
    const body = Buffer.concat([Buffer.from(head), await radiographOf(uid), Buffer.from('\r\n--b--\r\n')]);
    const sent = request(`https://${gateway.stow}/studies`, {
      ...{ ca, method: 'POST', agent: false },
      headers: { 'content-type': 'multipart/related; type="application/dicom"; boundary=b' },
    });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  }

  const countsOf = async () =>
    (await modality('status', '--config', settings, '--json')).lines[0]!['counts'] as Record<string, number>;

  it('takes instances by C-STORE and by STOW-RS, and has them scored by a server', async () => {
    await start('inbox', 'ca.pem');
    assert.equal(await storeByTls('1.2.3', authorities.ours), 0);
    assert.equal(await stowByTls('1.2.4', authorities.ours), 200);
    await eventually(async () => assert.equal((await countsOf())['scored'], 2, gateway.log()));
    const [shown] = (await modality('show', '1.2.4', '--config', settings, '--json')).lines;
    const { frames } = shown!['result'] as { readonly frames: readonly { readonly model: string }[] };
    assert.deepEqual(
      frames.map(({ model }) => model),
      ['small@1'],
    );
  });

  it('talks in plaintext to nobody, and has a certificate that another authority does not vouch for', async () => {
    await start('plaintext', 'ca.pem');
    const peer = await RawDicom.connect(gateway.port);
    peers.push(peer);
    assert.equal(await peer.associate(), undefined);
    await assert.rejects(fetch(`http://${gateway.stow}/studies`, { method: 'POST', body: 'text' }));
    const isUntrusted = { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' };
    await assert.rejects(storeByTls('1.2.3', authorities.other), isUntrusted);
    await assert.rejects(stowByTls('1.2.3', authorities.other), isUntrusted);
    assert.equal((await countsOf())['received'], 0);
  });

  it('sends nothing to a server whose certificate is of an authority that it does not trust', async () => {
    await start('untrusted', 'other-ca.pem');
    assert.equal(await storeByTls('1.2.3', authorities.ours), 0);
    await eventually(() => assert.match(gateway.log(), /"scope":"server".*"msg":"scoring failed"/));
    assert.equal((await countsOf())['scored'], 0);
  });
});
