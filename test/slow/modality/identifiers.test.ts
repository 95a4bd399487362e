/**
 * Identifiers of every class in instances that go through gateway and server, as separate processes, to an archive: they
 * are in no output of either, not on the wire between them, and not in the memory of the server.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { dicomFile, type Elements, testCells } from '../../../bench/support/dicom-file.js';
import { freePort } from '../../../bench/support/free-port.js';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import { StowPort } from '../../../clients/modality/src/stow/stow-port.js';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { DX_CLASS, PDU, RawDicom } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';
import { textsInMemory } from '../../support/measurements/memory-search.js';
import { OtlpReceiver } from '../../support/measurements/otlp-receiver.js';
import { type ServeProcess, startServeUnder } from '../../support/programs/salad.js';
import { holdAcquisition } from '../../support/servers/held-acquisition.js';
import { type ModelsFolder, SIDE, smallModels } from '../../support/servers/small-server.js';

/** All texts of elements begin with it, and are followed by the class of the identifier. */
const SECRET = 'ZZTOP';
const UIDS = '1.2.826.0.1.3680043.99.4711';
const BIRTH_DATE = '19431207';
const BIRTH_TIME = '031527.418';
const SECRETS = [SECRET, UIDS, BIRTH_DATE, BIRTH_TIME];
/** What clients send to the server, which keeps it while the acquisition is open; V8 keeps the second in two bytes. */
const HELD = ['held-by-the-server', 'held-wide-\u{50cf}'];

const PLANTED: Elements = {
  '00080005 CS': 'ISO_IR 100',
  '00080014 UI': `${UIDS}.14`,
  '00080016 UI': DX_CLASS,
  '00080050 SH': `${SECRET}ACCESSION`,
  '00080080 LO': `${SECRET}INSTITUTION`,
  '00080081 ST': `${SECRET}INSTITUTIONADDRESS`,
  '00080090 PN': `${SECRET}REFERRING^PHYSICIAN`,
  '00081010 SH': `${SECRET}STATION`,
  '00081030 LO': `${SECRET}STUDY`,
  '0008103E LO': `${SECRET}SERIES`,
  '00081048 PN': `${SECRET}OFRECORD^PHYSICIAN`,
  '00081050 PN': `${SECRET}PERFORMING^PHYSICIAN`,
  '00081070 PN': `${SECRET}OPERATOR^NAME`,
  '00081140 SQ': [{ '00081155 UI': `${UIDS}.1155`, '00100010 PN': `${SECRET}NESTED^NAME` }],
  '00090010 LO': `${SECRET}PRIVATECREATOR`,
  '00091001 UN': Buffer.from(`${SECRET}PRIVATEBYTES`),
  '00091002 SQ': [{ '00100020 LO': `${SECRET}PRIVATENESTED` }],
  '00100010 PN': `${SECRET}FAMILY^${SECRET}GIVEN`,
  '00100020 LO': `${SECRET}PATIENTID`,
  '00100030 DA': BIRTH_DATE,
  '00100032 TM': BIRTH_TIME,
  '00101000 LO': `${SECRET}OTHERID`,
  '00101001 PN': `${SECRET}OTHERNAME`,
  '00101002 SQ': [{ '00100020 LO': `${SECRET}OTHERIDITEM` }],
  '00101005 PN': `${SECRET}BIRTHNAME`,
  '00101040 LO': `${SECRET}ADDRESS`,
  '00102154 SH': `${SECRET}PHONE`,
  '001021B0 LT': `${SECRET}HISTORY`,
  '00104000 LT': `${SECRET}PATIENTCOMMENTS`,
  '00181000 LO': `${SECRET}SERIALNUMBER`,
  '00181002 UI': `${UIDS}.1002`,
  '00181030 LO': `${SECRET}PROTOCOL`,
  '00185101 CS': `${SECRET}VIEW`,
  '0020000D UI': `${UIDS}.13`,
  '0020000E UI': `${UIDS}.15`,
  '00200010 SH': `${SECRET}STUDYID`,
  '00200052 UI': `${UIDS}.52`,
  '00200060 CS': `${SECRET}SIDE`,
  '00204000 LT': `${SECRET}IMAGECOMMENTS`,
  '00281050 DS': '2000',
  '00281051 DS': '3000',
  '00281055 LO': `${SECRET}WINDOW`,
  '00321032 PN': `${SECRET}REQUESTING^PHYSICIAN`,
  '00380010 LO': `${SECRET}ADMISSION`,
  '00400275 SQ': [{ '00400007 LO': `${SECRET}STEP`, '00400008 SQ': [{ '00080104 LO': `${SECRET}CODE` }] }],
  '00402016 LO': `${SECRET}PLACERORDER`,
  '04000561 SQ': [{ '04000550 SQ': [{ '00100010 PN': `${SECRET}ORIGINAL^NAME` }] }],
  '60000010 US': [8],
  '60000022 LO': `${SECRET}OVERLAY`,
  '60001500 LO': `${SECRET}OVERLAYLABEL`,
  '60003000 OW': Buffer.from(`${SECRET}OVERLAYDATA`),
};

describe('identifiers in instances that the gateway sends to a server', function () {
  this.timeout(180_000);
  const receiver = new OtlpReceiver();
  let folder: string;
  let models: ModelsFolder;
  let archive: Inbox;
  let archivePort: StowPort;
  let server: ServeProcess;
  let gateway: GatewayProcess;
  let settings: string;
  let metricsAt: string;
  /** Bytes that the gateway sent to the server. */
  const sent: Buffer[] = [];
  let serverLog = '';
  const wire = createServer((socket) => {
    const [host, port] = server.address.split(':');
    const upstream = connect({ host: host!, port: Number(port) });
    socket.on('data', (chunk: Buffer) => sent.push(chunk));
    socket.pipe(upstream).pipe(socket);
    for (const each of [socket, upstream]) each.on('error', () => {});
  });

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-identifiers-'));
    models = await smallModels();
    metricsAt = `127.0.0.1:${await freePort()}`;
    const telemetry = {
      OTEL_EXPORTER_OTLP_ENDPOINT: await receiver.start(),
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    };
    const environment = { ...telemetry, SALAD_METRICS_LISTEN: metricsAt, SALAD_LOG_LEVEL: 'trace' };
    server = await startServeUnder({ environment }, '--models', models.path, '--engine', 'onnx');
    server.process.stderr.setEncoding('latin1').on('data', (text: string) => {
      serverLog += text;
    });
    archive = await Inbox.open(join(folder, 'archive'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    archivePort = await StowPort.listen({
      ...{ inbox: archive, host: '127.0.0.1', port: 0, priority: 'routine', token: undefined },
      ...{ connectionsMax: 4, dataMs: 10_000, events: { stowed() {}, requestRefused() {} } },
    });
    const wirePort = await freePort();
    await new Promise<void>((done) => wire.listen(wirePort, '127.0.0.1', done));
    settings = writeSettings(folder, {
      logLevel: 'debug',
      operations: { listen: '127.0.0.1:0' },
      dicom: { listen: '127.0.0.1:0', callers: [{ aeTitle: 'DX1' }, { aeTitle: `${SECRET}TITLE` }] },
      stow: { listen: '127.0.0.1:0' },
      watch: [{ path: 'watched', settleMs: 100, pollMs: 100 }],
      server: { targets: [`127.0.0.1:${wirePort}`], model: 'small' },
      destinations: [
        {
          ...{ name: 'pacs', url: `http://127.0.0.1:${archivePort.port}` },
          besidesReport: ['segmentation', 'secondaryCapture', 'presentationState'],
        },
      ],
    });
    gateway = await startGatewayProcess(settings, [], telemetry);
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    await archivePort?.close(100);
    archive?.close();
    wire.close();
    receiver.stop();
    await models?.remove();
    rmSync(folder, { recursive: true });
  });

  const fileOf = (number: number, bare = false) =>
    dicomFile({
      ...{ rows: SIDE, columns: SIDE, cells: testCells(SIDE, SIDE, 12, number), bitsStored: 12, bare },
      elements: { ...PLANTED, '00080018 UI': `${UIDS}.18.${number}` },
    });

  /** One instance by each input, with identifiers in names and titles, too. */
  async function send(): Promise<void> {
    const stranger = await RawDicom.connect(gateway.port);
    const answer = await stranger.associate({ calling: `${SECRET}STRANGER` });
    assert.equal(answer!.type, PDU.associateRj);
    stranger.close();
    const peer = await RawDicom.connect(gateway.port);
    await peer.associate({ calling: `${SECRET}TITLE` });
    assert.equal(await peer.store(`${UIDS}.18.1`, await fileOf(1, true)), 0);
    peer.close();
    const file = Buffer.from(await fileOf(2));
    file.write(`${SECRET}PREAMBLE`);
    const name = join(folder, 'watched', `${SECRET}FOLDER`);
    mkdirSync(name);
    writeFileSync(join(name, `${SECRET}FILE.dcm`), file);
    const head = `\r\n--b\r\nContent-Type: application/dicom\r\nContent-Location: ${SECRET}LOCATION\r\n\r\n`;
    const response = await fetch(`http://${gateway.stow}/studies?name=${SECRET}QUERY`, {
      method: 'POST',
      headers: {
        'content-type': 'multipart/related; type="application/dicom"; boundary=b',
        'user-agent': `${SECRET}AGENT`,
      },
      body: Buffer.concat([Buffer.from(head), await fileOf(3), Buffer.from('\r\n--b--\r\n')]),
    });
    assert.equal(response.status, 200);
  }

  const metricsOf = async (address: string | null) => (await fetch(`http://${address}/metrics`)).text();

  function assertSilent(text: string, what: string): void {
    for (const secret of SECRETS) {
      const at = text.indexOf(secret);
      assert.ok(at < 0, `${what} holds ${text.slice(at, at + 40)}`);
    }
  }

  it('reach the archive in the results', async () => {
    await send();
    await eventually(async () =>
      assert.match(
        await metricsOf(gateway.operations),
        /^salad_modality_instances\{salad_state="delivered"[^}]*\} 3$/m,
        gateway.log(),
      ),
    );
    const files = readdirSync(archive.folders.instances).map((name) =>
      readFileSync(join(archive.folders.instances, name), 'latin1'),
    );
    assert.ok(files.length >= 3);
    for (const file of files) {
      assert.ok(file.includes(`${SECRET}FAMILY^${SECRET}GIVEN`) && file.includes(`${UIDS}.13`));
    }
  });

  it('are not in the memory of the server, in which other texts that a client sent are found', async () => {
    const client = new SaladClient(server.address);
    const held = [];
    for (const id of HELD) held.push(await holdAcquisition(client, id));
    const found = textsInMemory(server.process.pid!, [...HELD, ...SECRETS]);
    for (const { release, outcome } of held) {
      release();
      await outcome;
    }
    client.close();
    assert.deepEqual(
      found.filter(({ text }) => SECRETS.includes(text)),
      [],
    );
    const [narrow, wide] = HELD;
    for (const control of [
      { text: narrow, encoding: 'latin1' },
      { text: wide, encoding: 'utf16le' },
    ]) {
      assert.ok(
        found.some((each) => each.text === control.text && each.encoding === control.encoding),
        `the search does not find what must be there: ${control.text}`,
      );
    }
  });

  it('are not on the wire to the server, and in no log, metric, span or status', async () => {
    const metrics = [await metricsOf(metricsAt), await metricsOf(gateway.operations)];
    const status = [
      await modality('status', '--config', settings),
      await modality('status', '--config', settings, '--json'),
    ];
    const shown = await modality('show', '1', '--config', settings, '--json');
    // Both send their last spans as they end.
    await gateway.stop();
    await server.stop();
    const wireText = Buffer.concat(sent).toString('latin1');
    assert.ok(wireText.length > 3 * 2 * SIDE * SIDE);
    const spans = [...receiver.bodies.values()].flat().join('\n');
    assert.match(spans, /"salad-modality"/);
    assert.match(spans, /StreamAcquisition/);
    assert.match(serverLog, /"level":/);
    assert.match(gateway.log(), /result delivered/);
    assert.match(gateway.log(), /"rule":"callingAeTitle"/);
    assertSilent(wireText, 'the wire');
    assertSilent(spans, 'a span');
    assertSilent(serverLog, 'the log of the server');
    // The title of a caller of the settings identifies a device of the site. That of the stranger must not be there.
    assertSilent(gateway.log().replaceAll(`"caller":"${SECRET}TITLE"`, ''), 'the log of the gateway');
    for (const text of metrics) assertSilent(text, 'the metrics');
    for (const { stdout, stderr } of status) assertSilent(stdout + stderr, 'the status');
    // It names the instance, whose UID a person may have given, and nothing else.
    assert.match(shown.stdout, /"state":"delivered"/);
    assertSilent(shown.stdout.replaceAll(`${UIDS}.18.1`, ''), 'what is shown of an instance');
  });
});
