/** Metrics and traces of the Open Inference Protocol: of whole images, and of tiles without their image. */
import assert from 'node:assert/strict';
import { Metadata } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../bench/support/free-port.js';
import type {
  GRPCInferenceServiceClient,
  ModelInferResponse,
  ModelStreamInferResponse,
} from '../../src/gen/inference/grpc_service.js';
import { eventually } from '../support/eventually.js';
import { OtlpReceiver, type OtlpSpan } from '../support/measurements/otlp-receiver.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import {
  bytesOf,
  connectInference,
  type InferOptions,
  inferRequest,
} from '../support/protocol/open-inference.js';
import { type ModelsFolder, SIDE, smallImage, smallModels } from '../support/servers/small-server.js';

/** Patches of the small model. */
const PATCHES_OF_IMAGE = 64;
const PATCHES_OF_TILE = 4;
const TILES = 3;
const TILE_SIDE = 24;

const traceOf = {
  image: 'a'.repeat(32),
  tiles: 'b'.repeat(32),
  refusedTiles: 'c'.repeat(32),
  refusedImage: 'd'.repeat(32),
  refusedInStream: 'e'.repeat(32),
} as const;
type Name = keyof typeof traceOf;

const image = (parameters: InferOptions['parameters'] = {}): InferOptions => ({
  model: 'small',
  inputs: [{ datatype: 'UINT8', shape: [1, SIDE, SIDE, 1], data: smallImage(1) }],
  parameters,
});
const tiles = (row: number): InferOptions => ({
  model: 'small.tiles',
  inputs: [
    {
      ...{ name: 'tile', datatype: 'UINT8', shape: [TILES, TILE_SIDE, TILE_SIDE, 1] },
      data: smallImage(2).subarray(0, TILE_SIDE * TILE_SIDE * TILES),
    },
    {
      ...{ name: 'position', datatype: 'INT32', shape: [TILES, 2] },
      data: bytesOf(Int32Array.of(0, 0, 1, 2, row, 3)),
    },
  ],
});
const UNREACHABLE = { max_false_positive_rate: 1e-6 };

describe('telemetry of the Open Inference Protocol', function () {
  this.timeout(60_000);
  const receiver = new OtlpReceiver();
  let models: ModelsFolder;
  let server: ServeProcess;
  let client: GRPCInferenceServiceClient;
  let metrics = '';
  let log = '';

  before(async () => {
    models = await smallModels();
    const metricsAddress = `127.0.0.1:${await freePort()}`;
    const environment = {
      SALAD_METRICS_LISTEN: metricsAddress,
      OTEL_EXPORTER_OTLP_ENDPOINT: await receiver.start(),
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      SALAD_LOG_LEVEL: 'debug',
    };
    server = await startServeUnder({ environment }, '--engine', 'onnx', '--models', models.path);
    server.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    client = connectInference(server.address);
    await infer('image', image());
    await infer('tiles', tiles(3));
    await assert.rejects(infer('refusedTiles', tiles(4)), /of a grid of 4 rows/);
    await assert.rejects(infer('refusedImage', image(UNREACHABLE)), /FAILED_PRECONDITION/);
    const { errorMessage } = await inferInStream('refusedInStream', image(UNREACHABLE));
    assert.match(errorMessage, /false.positive/i);
    metrics = await (await fetch(`http://${metricsAddress}/metrics`)).text();
    await eventually(() => assert.equal(log.match(/FALSE_POSITIVE_RATE_UNREACHABLE/g)?.length, 2));
    // The last spans are sent before the server stops.
    client.close();
    assert.equal(await server.stop(), 0);
  });
  after(async () => {
    client.close();
    await server.stop();
    receiver.stop();
    await models.remove();
  });

  function metadataOf(name: Name): Metadata {
    const metadata = new Metadata();
    metadata.set('traceparent', `00-${traceOf[name]}-00f067aa0ba902b7-01`);
    return metadata;
  }

  function infer(name: Name, options: InferOptions): Promise<ModelInferResponse> {
    return new Promise((resolve, reject) => {
      client.modelInfer(inferRequest(options), metadataOf(name), (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  }

  async function inferInStream(name: Name, options: InferOptions): Promise<ModelStreamInferResponse> {
    const stream = client.modelStreamInfer(metadataOf(name));
    stream.end(inferRequest(options));
    for await (const response of stream) return response as ModelStreamInferResponse;
    throw new Error('the stream ended without an answer');
  }

  /** Sum over all series of the small model whose labels match. */
  function value(metric: string, labels = ''): number {
    const lines = metrics.split('\n').filter((line) => line.startsWith(`${metric}{`));
    const own = lines.filter((line) => line.includes('salad_model="small@1"') && line.includes(labels));
    return own.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  const spansOf = (name: Name) => receiver.spans.filter(({ traceId }) => traceId === traceOf[name]);
  const isAcquisition = ({ name }: OtlpSpan) => name.startsWith('inference.GRPCInferenceService/');
  const acquisitionsOf = (name: Name) => spansOf(name).filter(isAcquisition);

  it('measures images and tiles, and those that were scored only', () => {
    const durations = (labels?: string) => value('salad_acquisition_duration_count', labels);
    assert.deepEqual([durations(), durations('salad_decision="none"')], [2, 1]);
    assert.equal(value('salad_tile_queue_duration_count'), 2);
    assert.equal(
      value('salad_patches_total', 'salad_outcome="scored"'),
      PATCHES_OF_IMAGE + TILES * PATCHES_OF_TILE,
    );
    // Tiles alone have no p-value.
    assert.equal(value('salad_acquisition_p_value_count'), 1);
  });

  for (const view of ['image', 'tiles'] as const) {
    it(`sends one span for a request of the view \`${view}\`, with its children, in the trace of the client`, () => {
      const [span, ...others] = acquisitionsOf(view);
      assert.equal(others.length, 0);
      assert.equal(span?.name, 'inference.GRPCInferenceService/ModelInfer');
      const children = spansOf(view).filter(({ parentSpanId }) => parentSpanId === span?.spanId);
      assert.deepEqual(children.map(({ name }) => name).sort(), ['aggregate', 'engine', 'queue']);
      const attributes = span?.attributes.map(({ key }) => key) ?? [];
      for (const key of ['salad.engines', 'salad.decision', 'salad.queue_ms', 'salad.compute_ms']) {
        assert.ok(attributes.includes(key), key);
      }
      assert.ok(span?.events?.some(({ name }) => name === 'patches'));
      const linked = receiver.spans
        .filter(({ name }) => name === 'batch')
        .flatMap(({ links = [] }) => links.map(({ spanId }) => spanId));
      assert.ok(linked.includes(span?.spanId ?? ''), 'a batch names the acquisition');
    });
  }

  it('sends a span for a request that was refused, and logs its trace', () => {
    const lines = log
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const name of ['refusedTiles', 'refusedImage', 'refusedInStream'] as const) {
      const [span, ...others] = acquisitionsOf(name);
      assert.equal(others.length, 0, name);
      const ids = lines.filter((line) => line['trace_id'] === traceOf[name]).map((line) => line['span_id']);
      assert.deepEqual(ids, [span?.spanId], name);
    }
  });
});
