import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { AcquisitionHeader, AnomalyMapFormat } from '../../src/gen/salad/v1/types.js';
import type { RunningServer } from '../../src/server/server.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/raw-grpc.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';

const IDLE_TIMEOUT_MS = 1500;

/** One whole acquisition whose aggregate carries a map of 16 KiB. */
function acquisition(): Buffer {
  const header = AcquisitionHeader.fromPartial({
    ...smallHeader('unread'),
    options: { patchScores: false, anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32 },
  });
  const rows = smallRows(smallImage(2)).map((chunk) =>
    frame(encode({ $case: 'rows', value: (chunk as Extract<typeof chunk, { type: 'rows' }>).rows })),
  );
  const end = frame(encode({ $case: 'end', value: { crc32c: undefined } }));
  return Buffer.concat([frame(encode({ $case: 'header', value: header })), ...rows, end]);
}

describe('a client that does not read', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  const openCalls = () => server.registry.budget.open;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { idleTimeoutMs: IDLE_TIMEOUT_MS });
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  /** The window takes `accepted`, never the map. */
  async function unread() {
    const session = await connectRaw(server.address, { windowBytes: 2000 });
    const stream = openRaw(session);
    stream.pause();
    stream.end(acquisition());
    await sleep(500);
    return { session, stream };
  }

  it('keeps its place until its last answer is read', async () => {
    const { session, stream } = await unread();
    assert.equal(openCalls(), 1);
    const { status } = await endOf(stream);
    assert.equal(status, 0);
    assert.equal(openCalls(), 0);
    session.close();
  });

  it('loses its place when it reads nothing for the idle timeout', async () => {
    const { session } = await unread();
    assert.equal(openCalls(), 1);
    await sleep(IDLE_TIMEOUT_MS);
    assert.equal(openCalls(), 0);
    session.destroy();
  });
});
