import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createSocket, connect as tcpConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  type Elements,
  testCells,
} from '../../bench/support/dicom-file.js';
import { type ServeProcess, salad, startServeUnder } from '../support/programs/salad.js';

/** The text of every element that can hold text. */
const SECRET = 'ZZTOPSECRET';
const UID = '1.2.826.0.1.3680043.99.4711';

/** Elements of every kind: patient, study, comments, text, private, nested, overlays, and texts where codes belong. */
const PLANTED: Elements = {
  '00080005 CS': 'ISO_IR 100',
  '00080018 UI': UID,
  '00080050 SH': SECRET,
  '00080080 LO': SECRET,
  '00080090 PN': SECRET,
  '00081030 LO': SECRET,
  '00081140 SQ': [{ '00081155 UI': UID, '00100010 PN': SECRET }],
  '00090010 LO': SECRET,
  '00091001 UN': Buffer.from(SECRET),
  '00100010 PN': `${SECRET}^${SECRET}`,
  '00100020 LO': SECRET,
  '00100030 DA': '19700101',
  '00104000 LT': SECRET,
  '00181030 LO': SECRET,
  '00185101 CS': SECRET,
  '00200010 SH': SECRET,
  '00200060 CS': SECRET,
  '00204000 LT': SECRET,
  '00281055 LO': SECRET,
  '00284000 LT': SECRET,
  '00400275 SQ': [{ '00400007 LO': SECRET, '00400008 SQ': [{ '00080104 LO': SECRET }] }],
  '60000010 US': [8],
  '60000022 LO': SECRET,
  '60003000 OW': Buffer.from(SECRET),
};
const WINDOW: Elements = { '00281050 DS': '2000', '00281051 DS': '3000' };
const PLAIN = { rows: 64, columns: 64, cells: testCells(64, 64, 12), bitsStored: 12 };

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

describe('identifiers in DICOM files', function () {
  this.timeout(120_000);
  let folder: string;
  let server: ServeProcess;
  /** Output of the server: log, spans and metrics. */
  const serverOutput: string[] = [];
  /** Bytes received by the server. */
  let sent: Buffer[] = [];
  const collector = createServer((request, response) => {
    request.on('data', (part: Buffer) => serverOutput.push(part.toString('latin1')));
    request.on('end', () => response.setHeader('content-type', 'application/json').end('{}'));
  });
  const wire = createSocket((client) => {
    const [host, port] = server.address.split(':');
    const upstream = tcpConnect({ host: host!, port: Number(port) });
    client.on('data', (chunk: Buffer) => sent.push(chunk));
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => {});
  });
  let wireAddress: string;
  let metricsAt: string;
  const files: string[] = [];

  async function write(name: string, options: Partial<DicomFileOptions>): Promise<void> {
    const path = join(folder, name);
    writeFileSync(
      path,
      await dicomFile({ ...PLAIN, ...options, elements: { ...PLANTED, ...options.elements } }),
    );
    files.push(path);
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-dicom-privacy-'));
    const probe = createServer();
    metricsAt = `127.0.0.1:${await listen(probe)}`;
    await new Promise((done) => probe.close(done));
    const environment = {
      SALAD_METRICS_LISTEN: metricsAt,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await listen(collector)}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '100',
      SALAD_LOG_LEVEL: 'trace',
    };
    server = await startServeUnder({ environment }, '--engine', 'onnx');
    server.process.stderr.on('data', (chunk: Buffer) => serverOutput.push(chunk.toString('latin1')));
    await new Promise<void>((done) => wire.listen(0, '127.0.0.1', done));
    wireAddress = `127.0.0.1:${(wire.address() as AddressInfo).port}`;
    // One file that is scored, and one for every refusal that depends on a text of the file.
    await write('good.dcm', { elements: WINDOW });
    await write('several.dcm', { syntax: 'rle', frames: 2, cells: testCells(128, 64, 12), elements: WINDOW });
    await write('number.dcm', { elements: { '00281050 DS': SECRET, '00281051 DS': SECRET } });
    await write('frames.dcm', { elements: { '00280008 IS': SECRET } });
    await write('function.dcm', { elements: { ...WINDOW, '00281056 CS': SECRET } });
    await write('shape.dcm', { elements: { ...WINDOW, '20500020 CS': SECRET } });
    await write('photometric.dcm', { photometric: SECRET });
    await write('modality.dcm', { elements: { ...WINDOW, '00080060 CS': SECRET, '00080068 CS': SECRET } });
    const cut = join(folder, 'cut.dcm');
    writeFileSync(cut, readFileSync(files[0]!).subarray(0, 2000));
    files.push(cut);
    const syntax = Buffer.from(readFileSync(files[0]!));
    syntax.write(`${SECRET}\0\0`, syntax.indexOf('1.2.840.10008.1.2.1\0'), 'latin1');
    files.push(join(folder, 'syntax.dcm'));
    writeFileSync(files.at(-1)!, syntax);
  });
  after(async () => {
    await server.stop();
    collector.close();
    wire.close();
    rmSync(folder, { recursive: true });
  });

  const score = (...args: string[]) =>
    salad('score', ...files, '--target', wireAddress, '--model', 'phantom', ...args);

  function assertSilent(texts: readonly string[], what: string): void {
    for (const text of texts) {
      for (const secret of [SECRET, UID, '19700101']) {
        assert.ok(!text.includes(secret), `${what} holds ${secret}: ${text.slice(0, 500)}`);
      }
    }
  }

  it('are in the files', () => {
    for (const file of files)
      assert.ok(readFileSync(file).includes(SECRET) && readFileSync(file).includes(UID), file);
  });

  it('are in no result, report or message of the command, and are not sent', async () => {
    sent = [];
    const outputs = [join(folder, 'scores.csv'), join(folder, 'report.html')];
    const args = ['--csv', outputs[0]!, '--report', outputs[1]!];
    for (const more of [['--json', '--patches'], ['--mode', 'tiles'], args]) {
      const { code, stdout, stderr } = await score(...more);
      assert.equal(code, 1);
      assert.match(stdout, /good\.dcm/);
      assertSilent([stdout, stderr], 'an output');
    }
    assertSilent(
      outputs.map((file) => readFileSync(file, 'latin1')),
      'a file',
    );
    assert.ok(sent.length > 0);
    assertSilent([Buffer.concat(sent).toString('latin1')], 'the wire');
    for (const file of files) {
      for (const more of [[], ['--json']]) {
        const { stdout, stderr } = await salad('dicom', 'info', file, ...more);
        assertSilent([stdout, stderr], 'dicom info');
      }
    }
  });

  it('reach the server with --send-dicom, and are in none of its answers', async () => {
    sent = [];
    const { code, stdout, stderr } = await score('--send-dicom', '--json');
    assert.equal(code, 1);
    assert.match(stdout, /"event":"aggregate"/);
    assertSilent([stdout, stderr], 'an output');
    assert.ok(Buffer.concat(sent).includes(SECRET), 'the files were not sent');
  });

  it('are printed with --identify: those of the instance, not those of the patient', async () => {
    const { stdout } = await score('--identify', '--json');
    assert.match(stdout, new RegExp(`"sopInstanceUid":"${UID}"`));
    assert.ok(!stdout.includes(SECRET));
    const info = await salad('dicom', 'info', files[0]!, '--identify');
    assert.ok(info.stdout.includes(UID) && !info.stdout.includes(SECRET));
  });

  it('are in none of the logs, spans and metrics of the server, which had them all', async () => {
    const metrics = await (await fetch(`http://${metricsAt}/metrics`)).text();
    // It exports its last spans before it ends.
    assert.equal(await server.stop(), 0);
    for (const output of ['"resourceSpans"', '"level":']) {
      assert.ok(
        serverOutput.some((text) => text.includes(output)),
        `no output of the server has ${output}`,
      );
    }
    assertSilent([...serverOutput, metrics], 'the server');
  });
});
