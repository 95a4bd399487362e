import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { RunningServer } from '../../src/server/server.js';
import { connect, end, header, rows } from '../support/protocol/grpc-client.js';
import { healthClient } from '../support/protocol/health-client.js';
import {
  type ModelsFolder,
  SIDE,
  smallImage,
  smallModels,
  startSmall,
} from '../support/servers/small-server.js';

describe('the health port', () => {
  let models: ModelsFolder;
  let server: RunningServer;
  let health: ReturnType<typeof healthClient>;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { healthListen: '127.0.0.1:0' });
    health = healthClient(`127.0.0.1:${server.healthPort}`);
  });

  after(async () => {
    health.close();
    await server.stop(0);
    await models.remove();
  });

  it('serves health and nothing else', async () => {
    assert.equal(await health.check(''), 'SERVING');
    assert.equal(await health.check('salad.live'), 'SERVING');
    const client = connect(`127.0.0.1:${server.healthPort}`);
    const call = client.streamAcquisition();
    const error = await new Promise((done) => call.once('error', done));
    client.close();
    assert.match(String(error), /UNIMPLEMENTED/);
  });

  it('reports NOT_SERVING but live during the drain, and closes after it', async () => {
    const client = connect(server.address);
    const call = client.streamAcquisition();
    await new Promise((done) => {
      call.once('data', done);
      call.write({ payload: header() });
    });
    const stopped = server.stop(20_000);
    assert.equal(await health.check(''), 'NOT_SERVING');
    assert.equal(await health.check('salad.live'), 'SERVING');
    call.resume();
    const ended = new Promise((done, fail) => call.once('end', done).once('error', fail));
    call.write({ payload: rows(smallImage(1), SIDE, 0, SIDE) });
    call.write({ payload: end() });
    call.end();
    await ended;
    await stopped;
    client.close();
    // A call on the closing connection is cancelled; a later one cannot connect.
    await assert.rejects(health.check(''), /UNAVAILABLE|CANCELLED/);
  });
});
