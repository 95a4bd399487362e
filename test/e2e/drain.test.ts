import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { type PixelChunk, SaladClient, SaladClientError } from '../../clients/typescript/src/index.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { healthClient } from '../support/protocol/health-client.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../support/servers/small-server.js';

const RETRY_MS = 321;
const chunks = smallRows(smallImage(1));

/** Sends half of an acquisition, and the rest after `release` is called. */
function heldAcquisition(client: SaladClient) {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* source(): AsyncGenerator<PixelChunk> {
    yield* chunks.slice(0, 4);
    await released;
    yield* chunks.slice(4);
  }
  let accepted = () => {};
  const isAccepted = new Promise<void>((resolve) => {
    accepted = resolve;
  });
  const outcome = client.scoreAcquisition(smallHeader('held'), source, {
    retry: false,
    timeoutMs: 60_000,
    onEvent: ({ type }) => {
      if (type === 'accepted') accepted();
    },
  });
  outcome.catch(() => {});
  return { isAccepted, release: () => release(), outcome };
}

/** Resolves with the error code when the server sends GOAWAY. */
async function goaway(session: ClientHttp2Session): Promise<readonly unknown[]> {
  const [code] = await once(session, 'goaway');
  return [code];
}

describe('salad serve after a signal', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let client: SaladClient;
  const sessions: ClientHttp2Session[] = [];

  const openSession = async () => {
    const session = connect(`http://${server.address}`);
    session.on('error', () => {});
    sessions.push(session);
    await once(session, 'connect');
    return session;
  };

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());
  beforeEach(async () => {
    const environment = { SALAD_RETRY_DELAY_MS: String(RETRY_MS) };
    server = await startServeUnder(
      { environment },
      ...['--models', models.path, '--engine', 'onnx', '--workers', '1'],
    );
    client = new SaladClient(server.address);
  });
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.destroy();
    client.close();
    await server.stop('SIGKILL');
  });

  it('finishes running acquisitions, refuses new ones with a retry delay, and exits with 0', async () => {
    const held = heldAcquisition(client);
    await held.isAccepted;
    const before = await openSession();
    const receivedGoaway = goaway(before);
    const exited = once(server.process, 'exit');
    server.process.kill('SIGTERM');
    assert.deepEqual(await receivedGoaway, [0]);

    const health = healthClient(server.address);
    assert.equal(await health.check(''), 'NOT_SERVING');
    health.close();
    const other = new SaladClient(server.address, { retry: false });
    await assert.rejects(other.scoreAcquisition(smallHeader('late'), chunks), (error: unknown) => {
      assert.ok(error instanceof SaladClientError);
      assert.deepEqual(
        [error.status, error.reason, error.retryAfterMs],
        ['UNAVAILABLE', 'DRAINING', RETRY_MS],
      );
      return true;
    });
    other.close();
    assert.deepEqual(await goaway(await openSession()), [0]);

    held.release();
    assert.equal((await held.outcome).coverage?.scored, 64);
    assert.deepEqual(await exited, [0, null]);
  });

  it('exits immediately after a second signal, even with running acquisitions', async () => {
    const held = heldAcquisition(client);
    await held.isAccepted;
    const receivedGoaway = goaway(await openSession());
    const exited = once(server.process, 'exit');
    server.process.kill('SIGTERM');
    await receivedGoaway;
    // The drain may take 20 s, so that a process that waits for it would exceed the limit of 10 s.
    server.process.kill('SIGTERM');
    assert.deepEqual(await Promise.race([exited, sleep(10_000)]), [130, null]);
    await assert.rejects(held.outcome, /UNAVAILABLE|ECONNRESET|RST_STREAM|dropped|closed/i);
  });

  it('exits with 130 after a second signal while engine threads compute', async () => {
    // Batches of this model take long.
    const wide = await smallModels({ width: 512 });
    const busy = await startServeUnder({}, '--models', wide.path, '--engine', 'onnx', '--workers', '2');
    const caller = new SaladClient(busy.address, { retry: false });
    try {
      let computed = () => {};
      const hasComputed = new Promise<void>((resolve) => {
        computed = resolve;
      });
      const onEvent = ({ type }: { readonly type: string }) => {
        if (type === 'patches') computed();
      };
      const scored = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((id) =>
        caller.scoreAcquisition(smallHeader(id), chunks, { onEvent }).catch(() => {}),
      );
      await hasComputed;
      const session = connect(`http://${busy.address}`);
      session.on('error', () => {});
      sessions.push(session);
      const receivedGoaway = goaway(session);
      await once(session, 'connect');
      const exited = once(busy.process, 'exit');
      busy.process.kill('SIGTERM');
      await receivedGoaway;
      busy.process.kill('SIGTERM');
      assert.deepEqual(await exited, [130, null]);
      await Promise.all(scored);
    } finally {
      caller.close();
      await busy.stop('SIGKILL');
      await wide.remove();
    }
  });
});
