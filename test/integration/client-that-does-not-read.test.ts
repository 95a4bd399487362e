import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { AcquisitionHeader, AnomalyMapFormat } from '../../src/gen/salad/v1/types.js';
import type { RunningServer } from '../../src/server/server.js';
import { encode, frame } from '../support/protocol/raw-grpc.js';
import { FRAME, RawConnection } from '../support/protocol/raw-http2.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const IDLE_TIMEOUT_MS = 1000;
const WINDOW_BYTES = 2000;
const STREAM = 1;

/** A whole acquisition whose aggregate contains an anomaly map of 16 KiB. */
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
  const connections: RawConnection[] = [];
  const openAcquisitions = () => server.registry.budget.open;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { idleTimeoutMs: IDLE_TIMEOUT_MS });
  });
  after(async () => {
    for (const { socket } of connections) socket.destroy();
    await server.stop(0);
    await models.remove();
  });

  /** Resolves when the answers have filled the window, which the anomaly map does not fit in. */
  async function unreadAcquisition(): Promise<RawConnection> {
    const connection = await RawConnection.connect(server.address, { windowBytes: WINDOW_BYTES });
    connections.push(connection);
    connection.request(STREAM);
    connection.data(STREAM, acquisition(), true);
    await connection.until(() => receivedBytes(connection) === WINDOW_BYTES);
    return connection;
  }

  it('keeps its acquisition open until the last answer is read', async () => {
    const connection = await unreadAcquisition();
    assert.equal(openAcquisitions(), 1);
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(1024 * 1024);
    connection.send(FRAME.windowUpdate, 0, STREAM, increment);
    // The second HEADERS frame of a stream contains the trailers, with the status.
    await connection.until(() => connection.frames.filter(isHeaders).length === 2);
    assert.ok(receivedBytes(connection) > 16 * 1024);
    assert.equal(openAcquisitions(), 0);
  });

  it('loses its acquisition when it reads nothing for the idle timeout', async () => {
    const connection = await unreadAcquisition();
    assert.equal(openAcquisitions(), 1);
    await connection.seen(({ type, stream }) => type === FRAME.reset && stream === STREAM);
    assert.equal(openAcquisitions(), 0);
  });
});

const isHeaders = ({ type, stream }: { type: number; stream: number }) =>
  type === FRAME.headers && stream === STREAM;

function receivedBytes({ frames }: RawConnection): number {
  return frames
    .filter(({ type, stream }) => type === FRAME.data && stream === STREAM)
    .reduce((sum, { payload }) => sum + payload.byteLength, 0);
}
