import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { after, afterEach, before, describe, it } from 'mocha';
import { type PixelChunk, SaladClient } from '../../clients/typescript/src/index.js';
import { Latch } from '../../src/acquisition/index.js';
import { loadConfig } from '../../src/config/load.js';
import type { RunningServer, ServerOptions } from '../../src/server/server.js';
import { eventually } from '../support/eventually.js';
import { CapturedLog } from '../support/measurements/captured-log.js';
import { type Authority, type Certificate, makeAuthority } from '../support/network/certificates.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const pixels = smallRows(smallImage(5));

describe('TLS', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  let authority: Authority;
  let otherAuthority: Authority;
  let server: RunningServer | undefined;
  const clients: SaladClient[] = [];

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-tls-'));
    [authority, otherAuthority] = [await makeAuthority(), await makeAuthority('other')];
    await writeFile(join(folder, 'ca.pem'), authority.certificate);
  });
  after(async () => {
    await models.remove();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await server?.stop(0);
    server = undefined;
  });

  const writeCertificate = async ({ certificate, privateKey }: Certificate) => {
    await writeFile(join(folder, 'server.key'), privateKey);
    await writeFile(join(folder, 'server.pem'), certificate);
  };
  const files = () => ({
    tlsCertFile: join(folder, 'server.pem'),
    tlsKeyFile: join(folder, 'server.key'),
    securityReloadMs: 10,
  });
  const start = async (flags: Record<string, unknown> = {}, options: ServerOptions = {}) => {
    server = await startSmall(models.path, { ...files(), ...flags }, options);
    return server;
  };
  const clientOf = (running: RunningServer, ca: Authority, own?: Certificate) => {
    const client = new SaladClient(running.address, { tls: { ca: ca.certificate, ...own }, retry: false });
    clients.push(client);
    return client;
  };
  const unavailable = { status: 'UNAVAILABLE' };

  it('serves clients that trust its authority, and none in plaintext', async () => {
    await writeCertificate(await authority.issue({ commonName: 'salad' }));
    const running = await start();
    const result = await clientOf(running, authority).scoreAcquisition(smallHeader('tls'), pixels);
    assert.equal(result.coverage?.scored, 64);
    const plain = new SaladClient(running.address, { retry: false });
    clients.push(plain);
    await assert.rejects(plain.listModels({ timeoutMs: 5000 }), { name: 'SaladClientError' });
    await assert.rejects(clientOf(running, otherAuthority).listModels({ timeoutMs: 5000 }), unavailable);
  });

  it('offers TLS 1.2 suites with forward secrecy and authenticated encryption only, also after a reload', async () => {
    await writeCertificate(await authority.issue({ commonName: 'salad' }));
    const running = await start();
    /** The negotiated suite; undefined where there is none. */
    const negotiate = (ciphers: string) =>
      new Promise<string | undefined>((resolve) => {
        const socket = connect(
          {
            host: '127.0.0.1',
            port: running.port,
            ca: authority.certificate,
            servername: 'localhost',
            maxVersion: 'TLSv1.2',
            ciphers: `${ciphers}:@SECLEVEL=0`,
            ALPNProtocols: ['h2'],
          },
          () => {
            resolve(socket.getCipher().name);
            socket.destroy();
          },
        );
        socket.on('error', () => resolve(undefined));
      });
    const assertSuites = async () => {
      assert.equal(await negotiate('ECDHE-ECDSA-AES128-GCM-SHA256'), 'ECDHE-ECDSA-AES128-GCM-SHA256');
      for (const weak of [
        'ECDHE-ECDSA-AES256-SHA384',
        'ECDHE-ECDSA-AES128-SHA',
        'ECDHE-ECDSA-AES128-CCM8',
        'ECDHE-ECDSA-AES128-CCM',
        'ECDHE-ECDSA-ARIA128-GCM-SHA256',
      ]) {
        assert.equal(await negotiate(weak), undefined, weak);
      }
    };
    await assertSuites();
    const second = await authority.issue({ commonName: 'second' });
    await writeCertificate(second);
    await eventually(async () => assert.equal(await subjectAt(running.port, authority), 'second'));
    await assertSuites();
  });

  it('sets the receive window of streams and connections', async () => {
    await writeCertificate(await authority.issue({ commonName: 'salad' }));
    const windowBytes = 3 * 1024 * 1024;
    const running = await start({ receiveWindowBytes: windowBytes });
    const session = http2.connect(`https://${running.address}`, { ca: authority.certificate });
    try {
      const settings = await new Promise<http2.Settings>((resolve) =>
        session.once('remoteSettings', resolve),
      );
      assert.equal(settings.initialWindowSize, windowBytes);
      // The answer to a ping follows the WINDOW_UPDATE of the connection.
      await new Promise((resolve) => session.ping(resolve));
      assert.equal(session.state.remoteWindowSize, windowBytes);
    } finally {
      session.destroy();
    }
  });

  it('requires a client certificate of the configured authority', async () => {
    await writeCertificate(await authority.issue({ commonName: 'salad' }));
    const running = await start({ tlsClientCaFile: join(folder, 'ca.pem') });
    const trusted = clientOf(running, authority, await authority.issue({ commonName: 'detector-7' }));
    assert.equal((await trusted.listModels()).length, 1);
    await assert.rejects(clientOf(running, authority).listModels({ timeoutMs: 5000 }), unavailable);
    const untrusted = clientOf(running, authority, await otherAuthority.issue({ commonName: 'detector-7' }));
    await assert.rejects(untrusted.listModels({ timeoutMs: 5000 }), unavailable);
  });

  it('uses changed files for new handshakes, and finishes a running stream on its connection', async () => {
    await writeCertificate(await authority.issue({ commonName: 'first' }));
    const log = new CapturedLog();
    const running = await start({}, { logger: log.logger });
    const secondHalf = new Latch();
    const firstHalfSent = new Latch();
    const source = async function* (): AsyncGenerator<PixelChunk> {
      yield* pixels.slice(0, 4);
      firstHalfSent.open();
      await secondHalf.wait();
      yield* pixels.slice(4);
    };
    const result = clientOf(running, authority).scoreAcquisition(smallHeader('long'), source);
    await firstHalfSent.wait();

    // A key without its certificate, as when the server reads between two writes: the old pair stays in use.
    const second = await authority.issue({ commonName: 'second' });
    await writeFile(join(folder, 'server.key'), second.privateKey);
    await log.line(/changed certificates are invalid/);
    assert.equal(await subjectAt(running.port, authority), 'first');
    await writeFile(join(folder, 'server.pem'), second.certificate);
    await log.line(/files of the certificates have changed/);
    assert.equal(await subjectAt(running.port, authority), 'second');
    secondHalf.open();
    assert.equal((await result).coverage?.scored, 64);
    assert.equal((await clientOf(running, authority).listModels()).length, 1);
  });

  it('refuses to start with the key of another certificate, an expired certificate, or an invalid file', async () => {
    const [valid, other] = [
      await authority.issue({ commonName: 'salad' }),
      await authority.issue({ commonName: 'other' }),
    ];
    const refused = (message: RegExp) => ({ reason: 'CONFIGURATION_INVALID', message });
    await writeCertificate({ ...valid, privateKey: other.privateKey });
    await assert.rejects(start(), refused(/tlsKeyFile .* not the key/));
    await writeCertificate(await authority.issue({ commonName: 'old', daysLeft: -1 }));
    await assert.rejects(start(), refused(/tlsCertFile .* expired/));
    await writeCertificate({ ...valid, certificate: 'not a certificate' });
    await assert.rejects(start(), refused(/tlsCertFile/));
    await assert.rejects(start({ tlsKeyFile: '/nonexistent' }), refused(/tlsKeyFile \/nonexistent/));
    await assert.rejects(start({ tlsKeyFile: '' }), refused(/tlsKeyFile: is missing/));
  });

  it('refuses plaintext beyond loopback unless it is allowed explicitly', async () => {
    for (const listen of [
      '0.0.0.0:0',
      '[::]:0',
      '10.1.2.3:50051',
      'salad.example:50051',
      '127.0.0.1.example:1',
    ]) {
      await assert.rejects(loadConfig({ flags: { listen } }), { reason: 'CONFIGURATION_INVALID' }, listen);
      await loadConfig({ flags: { listen, allowPlaintext: 'true' } });
      await loadConfig({ flags: { listen, ...files() } });
    }
    for (const listen of ['127.0.0.1:1', '127.8.9.10:1', '[::1]:1', 'localhost:1']) {
      await loadConfig({ flags: { listen } });
    }
  });
});

/** Common name of the certificate in a new handshake. */
function subjectAt(port: number, authority: Authority): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca: authority.certificate, ALPNProtocols: ['h2'] });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      resolve(String(CN));
    });
  });
}
