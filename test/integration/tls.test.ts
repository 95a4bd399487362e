import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { after, afterEach, before, describe, it } from 'mocha';
import { type PixelChunk, SaladClient } from '../../clients/typescript/src/index.js';
import { loadConfig } from '../../src/config/load.js';
import type { RunningServer } from '../../src/server/server.js';
import { type Authority, type Certificate, makeAuthority } from '../support/certificates.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';

const pixels = smallRows(smallImage(5));

describe('TLS', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  let authority: Authority;
  let stranger: Authority;
  let server: RunningServer | undefined;
  const clients: SaladClient[] = [];

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-tls-'));
    [authority, stranger] = [await makeAuthority(), await makeAuthority('stranger')];
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

  const use = async ({ certificate, privateKey }: Certificate) => {
    await writeFile(join(folder, 'server.key'), privateKey);
    await writeFile(join(folder, 'server.pem'), certificate);
  };
  const files = () => ({
    tlsCertFile: join(folder, 'server.pem'),
    tlsKeyFile: join(folder, 'server.key'),
    securityReloadMs: 10,
  });
  const start = async (flags: Record<string, unknown> = {}) => {
    server = await startSmall(models.path, { ...files(), ...flags });
    return server;
  };
  const clientOf = (running: RunningServer, ca: Authority, own?: Certificate) => {
    const client = new SaladClient(running.address, { tls: { ca: ca.certificate, ...own }, retry: false });
    clients.push(client);
    return client;
  };
  const unavailable = { status: 'UNAVAILABLE' };

  it('serves those who trust its authority, and nobody in plaintext', async () => {
    await use(await authority.issue({ commonName: 'salad' }));
    const running = await start();
    const result = await clientOf(running, authority).scoreAcquisition(smallHeader('tls'), pixels);
    assert.equal(result.coverage?.scored, 64);
    const plain = new SaladClient(running.address, { retry: false });
    clients.push(plain);
    await assert.rejects(plain.listModels({ timeoutMs: 5000 }), { name: 'SaladClientError' });
    await assert.rejects(clientOf(running, stranger).listModels({ timeoutMs: 5000 }), unavailable);
  });

  it('offers TLS 1.2 with forward secrecy and authenticated encryption only, also after a change', async () => {
    await use(await authority.issue({ commonName: 'salad' }));
    const running = await start();
    /** The suite agreed on; undefined where there is none. */
    const suite = (ciphers: string) =>
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
      assert.equal(await suite('ECDHE-ECDSA-AES128-GCM-SHA256'), 'ECDHE-ECDSA-AES128-GCM-SHA256');
      for (const weak of [
        'ECDHE-ECDSA-AES256-SHA384',
        'ECDHE-ECDSA-AES128-SHA',
        'ECDHE-ECDSA-AES128-CCM8',
        'ECDHE-ECDSA-AES128-CCM',
        'ECDHE-ECDSA-ARIA128-GCM-SHA256',
      ]) {
        assert.equal(await suite(weak), undefined, weak);
      }
    };
    await assertSuites();
    const second = await authority.issue({ commonName: 'second' });
    await use(second);
    const serial = async () => {
      const socket = connect({
        host: '127.0.0.1',
        port: running.port,
        ca: authority.certificate,
        servername: 'localhost',
      });
      await once(socket, 'secureConnect');
      const { CN } = socket.getPeerCertificate().subject;
      socket.destroy();
      return CN;
    };
    while ((await serial()) !== 'second') await sleep(10);
    await assertSuites();
  });

  it('keeps the wide receive window', async () => {
    await use(await authority.issue({ commonName: 'salad' }));
    const windowBytes = 3 * 1024 * 1024;
    const running = await start({ receiveWindowBytes: windowBytes });
    const session = http2.connect(`https://${running.address}`, { ca: authority.certificate });
    try {
      const settings = await new Promise<http2.Settings>((resolve) =>
        session.once('remoteSettings', resolve),
      );
      assert.equal(settings.initialWindowSize, windowBytes);
      for (let tries = 0; tries < 500 && (session.state.remoteWindowSize ?? 0) < windowBytes; tries++) {
        await sleep(10);
      }
      assert.equal(session.state.remoteWindowSize, windowBytes);
    } finally {
      session.destroy();
    }
  });

  it('asks for a client certificate of its authority where one is set', async () => {
    await use(await authority.issue({ commonName: 'salad' }));
    const running = await start({ tlsClientCaFile: join(folder, 'ca.pem') });
    const known = clientOf(running, authority, await authority.issue({ commonName: 'detector-7' }));
    assert.equal((await known.listModels()).length, 1);
    await assert.rejects(clientOf(running, authority).listModels({ timeoutMs: 5000 }), unavailable);
    const foreign = clientOf(running, authority, await stranger.issue({ commonName: 'detector-7' }));
    await assert.rejects(foreign.listModels({ timeoutMs: 5000 }), unavailable);
  });

  it('uses changed files for new handshakes; a stream that runs ends well on its own connection', async () => {
    await use(await authority.issue({ commonName: 'first' }));
    const running = await start();
    const half = gate();
    const halfSent = gate();
    const source = async function* (): AsyncGenerator<PixelChunk> {
      yield* pixels.slice(0, 4);
      halfSent.open();
      await half.opened;
      yield* pixels.slice(4);
    };
    const result = clientOf(running, authority).scoreAcquisition(smallHeader('long'), source);
    await halfSent.opened;

    // A key without its certificate is what a look between two writes sees: the old pair goes on.
    const second = await authority.issue({ commonName: 'second' });
    await writeFile(join(folder, 'server.key'), second.privateKey);
    await sleep(100);
    assert.equal(await subjectAt(running.port, authority), 'first');
    await writeFile(join(folder, 'server.pem'), second.certificate);
    for (let tries = 0; tries < 500 && (await subjectAt(running.port, authority)) === 'first'; tries++) {
      await sleep(20);
    }
    assert.equal(await subjectAt(running.port, authority), 'second');
    half.open();
    assert.equal((await result).coverage?.scored, 64);
    assert.equal((await clientOf(running, authority).listModels()).length, 1);
  });

  it('refuses to start with a key that is not its own, an expired certificate, or a file that is none', async () => {
    const [sound, other] = [
      await authority.issue({ commonName: 'salad' }),
      await authority.issue({ commonName: 'other' }),
    ];
    const refused = (message: RegExp) => ({ reason: 'CONFIGURATION_INVALID', message });
    await use({ ...sound, privateKey: other.privateKey });
    await assert.rejects(start(), refused(/tlsKeyFile .* not the key/));
    await use(await authority.issue({ commonName: 'old', daysLeft: -1 }));
    await assert.rejects(start(), refused(/tlsCertFile .* expired/));
    await use({ ...sound, certificate: 'no certificate' });
    await assert.rejects(start(), refused(/tlsCertFile/));
    await assert.rejects(start({ tlsKeyFile: '/nonexistent' }), refused(/tlsKeyFile \/nonexistent/));
    await assert.rejects(start({ tlsKeyFile: '' }), refused(/tlsKeyFile: is missing/));
  });

  it('refuses plaintext beyond loopback unless that is asked for', async () => {
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

function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** The common name that a new handshake is answered with. */
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
