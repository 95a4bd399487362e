/** Metrics and traces of an instance on its way through gateway and server to an archive. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { Inbox } from '../../clients/modality/src/inbox/inbox.js';
import { StowPort } from '../../clients/modality/src/stow/stow-port.js';
import { type GatewayProcess, startGatewayProcess, writeSettings } from '../support/dicom/gateway-program.js';
import { radiographOf } from '../support/dicom/radiograph.js';
import { eventually } from '../support/eventually.js';
import { OtlpReceiver, type OtlpSpan } from '../support/measurements/otlp-receiver.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const SECRET = 'ZZTOPSECRET';
const SECRET_UID = '1.2.826.0.1.3680043.99.4711';

describe('telemetry of the gateway', function () {
  this.timeout(120_000);
  const receiver = new OtlpReceiver();
  let folder: string;
  let models: ModelsFolder;
  let archive: Inbox;
  let port: StowPort;
  let server: ServeProcess;
  let gateway: GatewayProcess;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-telemetry-'));
    const environment = {
      OTEL_EXPORTER_OTLP_ENDPOINT: await receiver.start(),
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    };
    models = await smallModels();
    server = await startServeUnder({ environment }, '--models', models.path, '--engine', 'onnx');
    archive = await Inbox.open(join(folder, 'archive'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    port = await StowPort.listen({
      ...{ inbox: archive, host: '127.0.0.1', port: 0, priority: 'routine', token: undefined },
      ...{ connectionsMax: 4, dataMs: 10_000, events: { stowed() {}, requestRefused() {} } },
    });
    const settings = writeSettings(folder, {
      operations: { listen: '127.0.0.1:0' },
      stow: { listen: '127.0.0.1:0', priority: 'stat' },
      server: { targets: [server.address], model: 'small' },
      destinations: [{ name: 'pacs', url: `http://127.0.0.1:${port.port}` }],
    });
    gateway = await startGatewayProcess(settings, [], environment);
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    await port?.close(100);
    archive?.close();
    receiver.stop();
    await models?.remove();
    rmSync(folder, { recursive: true });
  });

  async function send(): Promise<void> {
    const study = { '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' };
    const file = await radiographOf(SECRET_UID, { elements: { '00100020 LO': SECRET, ...study } });
    const head = '\r\n--b\r\nContent-Type: application/dicom\r\n\r\n';
    const response = await fetch(`http://${gateway.stow}/studies`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/related; type="application/dicom"; boundary=b' },
      body: Buffer.concat([Buffer.from(head), file, Buffer.from('\r\n--b--\r\n')]),
    });
    assert.equal(response.status, 200);
  }

  it('counts an instance at every step, and links its spans across the queues, down to the server', async () => {
    await send();
    let metrics = '';
    await eventually(async () => {
      metrics = await (await fetch(`http://${gateway.operations}/metrics`)).text();
      assert.match(metrics, /^salad_modality_instances\{salad_state="delivered"[^}]*\} 1$/m, gateway.log());
    });
    for (const line of [
      /^salad_modality_scoring_attempts_total\{salad_outcome="scored"[^}]*\} 1$/m,
      /^salad_modality_delivery_attempts_total\{salad_destination="pacs",salad_outcome="delivered"[^}]*\} 1$/m,
      /^salad_modality_receive_duration_count\{salad_input="stow"[^}]*\} 1$/m,
      /^salad_modality_score_duration_count\{salad_priority="stat"[^}]*\} 1$/m,
      /^salad_modality_delivery_duration_count\{salad_destination="pacs"[^}]*\} 1$/m,
    ]) {
      assert.match(metrics, line);
    }
    // Both send their last spans as they end.
    await gateway.stop();
    await server.stop();
    const named = (name: string) => receiver.spans.filter((span) => span.name === name);
    const [receive, score, deliver] = ['receive', 'score', 'deliver'].map((name) => {
      assert.equal(named(name).length, 1, name);
      return named(name)[0]!;
    });
    assert.deepEqual(linksOf(score!), [receive!.spanId]);
    assert.deepEqual(linksOf(deliver!), [score!.spanId]);
    const [acquisition] = named('salad.v1.AnomalyScoring/StreamAcquisition');
    assert.deepEqual([acquisition!.traceId, acquisition!.parentSpanId], [score!.traceId, score!.spanId]);
    const sent = [...receiver.bodies.values()].flat().join('\n') + metrics;
    assert.ok(!sent.includes(SECRET) && !sent.includes(SECRET_UID));
  });
});

function linksOf({ links = [] }: OtlpSpan): readonly string[] {
  return links.map(({ spanId }) => spanId);
}
