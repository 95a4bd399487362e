import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials, Metadata } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { AnomalyScoringClient, ScoreImageRequest } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { packageRoot } from '../../src/util/package-root.js';
import { OtlpReceiver, type OtlpSpan } from '../support/measurements/otlp-receiver.js';
import { type ServeProcess, salad, startServeUnder } from '../support/programs/salad.js';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';

/** Start and end of a span, in ns. */
const started = (span: OtlpSpan | undefined) => BigInt(span?.startTimeUnixNano ?? 0);
const ended = (span: OtlpSpan | undefined) => BigInt(span?.endTimeUnixNano ?? 0);

async function bankRows(): Promise<number> {
  const manifest = await readFile(join(packageRoot(), 'models/phantom/1/manifest.json'), 'utf8');
  return JSON.parse(manifest).bank.rows as number;
}

async function freePort(): Promise<number> {
  const socket = createSocket();
  await new Promise<void>((done) => socket.listen(0, '127.0.0.1', done));
  const { port } = socket.address() as AddressInfo;
  await new Promise((done) => socket.close(done));
  return port;
}

/** Scores one image with the trace context of a client; resolves with the kind of the last message. */
async function scoreTraced(
  address: string,
  model: string,
  image: Buffer,
  options: { readonly maxFalsePositiveRate?: number } = {},
): Promise<string | undefined> {
  const client = new AnomalyScoringClient(address, credentials.createInsecure());
  try {
    const metadata = new Metadata();
    metadata.set('traceparent', `00-${TRACE_ID}-00f067aa0ba902b7-01`);
    const request = ScoreImageRequest.fromPartial({
      header: { acquisitionId: 'patient-name-like', model: { name: model }, options },
      image: { $case: 'encoded', value: image },
    });
    let last: string | undefined;
    for await (const message of client.scoreImage(request, metadata)) last = message.payload?.$case;
    return last;
  } finally {
    client.close();
  }
}

describe('telemetry', function () {
  this.timeout(60_000);
  const receiver = new OtlpReceiver();
  let server: ServeProcess;
  let metricsAddress = '';
  let folder = '';
  let image: Buffer;

  before(async () => {
    const endpoint = await receiver.start();
    metricsAddress = `127.0.0.1:${await freePort()}`;
    const environment = {
      SALAD_METRICS_LISTEN: metricsAddress,
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      SALAD_LOG_LEVEL: 'debug',
    };
    server = await startServeUnder({ environment }, '--engine', 'onnx');
    folder = await mkdtemp(join(tmpdir(), 'salad-telemetry-'));
    assert.equal((await salad('phantom', '--count', '1', '--seed', '5', '--out', folder)).code, 0);
    const [name] = await readdir(join(folder, 'normal'));
    image = await readFile(join(folder, 'normal', String(name)));
  });
  after(async () => {
    await server.stop();
    receiver.stop();
    await rm(folder, { recursive: true });
  });

  it('offers metrics for Prometheus, without identifiers of acquisitions', async () => {
    assert.equal(await scoreTraced(server.address, 'phantom', image), 'aggregate');
    await assert.rejects(scoreTraced(server.address, 'no-such-model', image), /NOT_FOUND/);
    const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
    const value = (pattern: RegExp) => Number(text.match(pattern)?.[1] ?? Number.NaN);
    const call = (status: string) =>
      value(new RegExp(`rpc_server_call_duration_count\\{[^}]*ScoreImage[^}]*"${status}"[^}]*\\} (\\d+)`));
    assert.deepEqual([call('OK'), call('NOT_FOUND')], [1, 1]);
    assert.equal(value(/salad_acquisition_duration_count\{[^}]*\} (\d+)/), 1);
    assert.equal(value(/salad_patches_total\{[^}]*scored[^}]*\} (\d+)/), 256);
    const batches = [
      ...text.matchAll(/salad_batch_size_count\{[^}]*salad_release="(?:full|slot)"[^}]*\} (\d+)/g),
    ];
    assert.ok(batches.reduce((sum, [, count]) => sum + Number(count), 0) >= 4);
    assert.equal(value(/salad_bank_prototypes\{salad_model="phantom@1"[^}]*\} (\d+)/), await bankRows());
    assert.ok(value(/salad_models\{salad_state="serving"[^}]*\} (\d+)/) >= 1);
    assert.equal(value(/salad_models\{salad_state="refused"[^}]*\} (\d+)/), 0);
    assert.equal(value(/salad_tiles_queued\{?[^}]*\}? (\d+)/), 0);
    assert.ok(value(/nodejs_eventloop_delay_p99\{?[^}]*\}? ([\d.e-]+)/) >= 0);
    // Few images are no evidence of drift.
    assert.ok(value(/salad_score_drift\{[^}]*\} ([\d.]+)/) < 4);
    assert.doesNotMatch(text, /patient-name-like|description missing/);
  });

  for (const file of ['alerts.yaml', 'dashboard.json']) {
    it(`has every metric and label that ${file} of the chart uses`, async () => {
      const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
      const chartFile = await readFile(join(packageRoot(), 'helm/salad-serve/files', file), 'utf8');
      const names = new Set(chartFile.match(/\b(salad|rpc|nodejs)_\w+/g));
      assert.ok(names.size > 10);
      const unknown = [...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(text));
      assert.deepEqual(unknown, []);
    });
  }

  it('logs the trace of a failed acquisition', async () => {
    let log = '';
    server.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const unreachable = scoreTraced(server.address, 'phantom', image, { maxFalsePositiveRate: 1e-6 });
    await assert.rejects(unreachable, /FAILED_PRECONDITION/);
    const deadline = performance.now() + 5000;
    while (!log.includes('FALSE_POSITIVE_RATE_UNREACHABLE') && performance.now() < deadline) await sleep(10);
    const lines = log.split('\n').filter((line) => line.includes('FALSE_POSITIVE_RATE_UNREACHABLE'));
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).trace_id),
      [TRACE_ID],
    );
    assert.doesNotMatch(log, /patient-name-like/);
  });

  it('continues the trace of a client, and sends it before the server stops', async () => {
    assert.equal(await server.stop(), 0);
    const spans = receiver.spans.filter(({ traceId }) => traceId === TRACE_ID);
    const [span, failed, ...others] = spans.filter(({ parentSpanId }) => parentSpanId === '00f067aa0ba902b7');
    assert.deepEqual([failed?.events?.length ?? 0, others.length], [0, 0]);
    assert.equal(span?.name, 'salad.v1.AnomalyScoring/ScoreImage');
    const events = span?.events?.map(({ name }) => name) ?? [];
    assert.deepEqual([events[0], events.at(-1)], ['accepted', 'aggregate']);
    assert.ok(span?.attributes.some(({ key }) => key === 'salad.decision'));
    assert.doesNotMatch(JSON.stringify(receiver.spans), /patient-name-like/);

    // The child spans are inside the span and end in this order.
    const children = spans.filter(({ parentSpanId }) => parentSpanId === span?.spanId);
    const byEnd = [...children].sort((one, other) => (ended(one) < ended(other) ? -1 : 1));
    assert.deepEqual(
      byEnd.map(({ name }) => name),
      ['queue', 'engine', 'aggregate'],
    );
    for (const child of children) {
      assert.ok(started(child) <= ended(child), child.name);
      assert.ok(started(child) >= started(span) && ended(child) <= ended(span), child.name);
    }
    assert.equal(spans.length, 2 + children.length);
  });

  it('sends a span for each batch, linked to the acquisitions of the batch', () => {
    const acquisitions = receiver.spans.filter(({ name }) => name.endsWith('/ScoreImage'));
    const batches = receiver.spans.filter(({ name }) => name === 'batch');
    assert.ok(batches.length >= 2);
    const linked = batches.flatMap(({ links = [] }) => links.map(({ spanId }) => spanId));
    assert.deepEqual(
      new Set(linked),
      new Set([acquisitions.find(({ traceId }) => traceId === TRACE_ID)?.spanId]),
    );
    const tiles = batches.map(({ attributes }) =>
      Number(attributes.find(({ key }) => key === 'salad.batch.size')?.value.intValue),
    );
    assert.equal(
      tiles.reduce((sum, count) => sum + count, 0),
      // Strips of the whole width, 32 rows each.
      8,
    );
  });
});

describe('score drift', function () {
  this.timeout(60_000);

  it('is logged once and shown as a metric if images are unlike the calibration', async () => {
    const metricsAddress = `127.0.0.1:${await freePort()}`;
    const environment = { SALAD_METRICS_LISTEN: metricsAddress };
    const server = await startServeUnder({ environment }, '--engine', 'onnx');
    let log = '';
    server.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const folder = await mkdtemp(join(tmpdir(), 'salad-drift-'));
    try {
      const phantom = ['phantom', '--count', '1', '--seed', '6', '--out', folder];
      assert.equal((await salad(...phantom)).code, 0);
      assert.equal((await salad(...phantom, '--lesion', 'effusion')).code, 0);
      const [normal, lesion] = await Promise.all(
        ['normal', 'effusion'].map(async (label) => {
          const [name] = await readdir(join(folder, label));
          return readFile(join(folder, label, String(name)));
        }),
      );
      const drift = async () => {
        const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
        return Number(text.match(/salad_score_drift\{[^}]*\} ([\d.]+)/)?.[1]);
      };
      for (let time = 0; time < 5; time++) await scoreTraced(server.address, 'phantom', normal!);
      assert.ok((await drift()) < 4);
      for (let time = 0; time < 40; time++) await scoreTraced(server.address, 'phantom', lesion!);
      assert.ok((await drift()) >= 4);
      assert.equal(log.split('recent images score unlike').length - 1, 1, log);
    } finally {
      await server.stop();
      await rm(folder, { recursive: true });
    }
  });
});
