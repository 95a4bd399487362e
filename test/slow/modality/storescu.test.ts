/** DCMTK's storescu and echoscu against the DICOM port. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'mocha';
import { dicomFile, type SyntaxName, testCells } from '../../../bench/support/dicom-file.js';
import { pathOf } from '../../../clients/modality/src/inbox/inbox.js';
import { needs, runProgram, storeStatuses } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayPort,
  type GatewayPortOptions,
  startGatewayPort,
} from '../../support/dicom/gateway-port.js';
import { makeAuthority } from '../../support/network/certificates.js';

const DX = '1.2.840.10008.5.1.4.1.1.1.1';
const ROWS = 60;
const COLUMNS = 50;
const CELLS = testCells(ROWS, COLUMNS, 12);

/** Options of storescu that propose a syntax. */
const PROPOSE: Partial<Record<SyntaxName, string>> = {
  explicit: '-xe',
  implicit: '-xi',
  bigEndian: '-xb',
  deflated: '-xd',
  jpegLosslessSv1: '-xs',
  jpegLsLossless: '-xt',
  jpeg2000Lossless: '-xv',
  rle: '-xr',
};

describe('DICOM port with DCMTK', function () {
  this.timeout(60_000);
  let folder: string;
  let gateway: GatewayPort;

  before(async function () {
    await needs(this, 'storescu', 'echoscu');
    folder = mkdtempSync(join(tmpdir(), 'salad-storescu-'));
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });
  afterEach(() => gateway?.close());

  async function start(options: GatewayPortOptions = {}): Promise<void> {
    gateway = await startGatewayPort(options);
  }

  async function write(name: string, uid: string, syntax: SyntaxName = 'explicit'): Promise<string> {
    const path = join(folder, name);
    const elements = { '00080016 UI': DX, '00080018 UI': uid };
    const image = { rows: ROWS, columns: COLUMNS, cells: CELLS, bitsStored: 12 };
    writeFileSync(path, await dicomFile({ ...image, syntax, elements }));
    return path;
  }

  const peer = () => ['127.0.0.1', String(gateway.port.port)];
  const store = (files: readonly string[], ...args: readonly string[]) =>
    runProgram('storescu', '-d', '-aet', 'DX1', '-aec', 'SALAD', ...args, ...peer(), ...files);

  it('answers C-ECHO, several on one association', async () => {
    await start();
    const args = ['-aet', 'DX1', '-aec', 'SALAD', '--repeat', '5'];
    assert.equal((await runProgram('echoscu', ...args, ...peer())).code, 0);
  });

  for (const syntax of Object.keys(PROPOSE) as SyntaxName[]) {
    it(`keeps an instance in ${syntax} byte for byte`, async () => {
      await start();
      const file = await write(`${syntax}.dcm`, '1.2.3.4', syntax);
      const { code, output } = await store([file], PROPOSE[syntax]!);
      assert.equal(code, 0, output);
      const [instance, ...more] = gateway.inbox.index.list();
      assert.equal(more.length, 0);
      assert.equal(instance!.sopInstanceUid, '1.2.3.4');
      const [kept, sent] = [pathOf(gateway.inbox.folders, instance!), file];
      const dumps = await Promise.all(
        [kept, sent].map((path) => runProgram('dcmdump', '-q', '+W', '-M', path)),
      );
      const dataSet = ({ output: text }: { output: string }) => text.slice(text.indexOf('# Dicom-Data-Set'));
      assert.ok(dumps[0]!.output.includes('PixelData'));
      assert.equal(dataSet(dumps[0]!), dataSet(dumps[1]!));
    });
  }

  it('takes an instance by TLS, and none from a storescu that trusts another authority', async () => {
    const [authority, other] = [await makeAuthority(), await makeAuthority('another authority')];
    const { certificate, privateKey } = await authority.issue({ commonName: 'gateway' });
    await start({ port: { tls: { cert: certificate, key: privateKey } } });
    const file = await write('tls.dcm', '1.2.3.9');
    const storeTrusting = (name: string, pem: string) => {
      writeFileSync(join(folder, name), pem);
      return store([file], '--anonymous-tls', '--add-cert-file', join(folder, name));
    };
    const untrusting = await storeTrusting('other.pem', other.certificate);
    assert.notEqual(untrusting.code, 0);
    assert.match(untrusting.output, /certificate/);
    assert.deepEqual(gateway.inbox.index.list(), []);
    const { output } = await storeTrusting('ca.pem', authority.certificate);
    assert.deepEqual(storeStatuses(output), ['0x0000'], output);
    assert.equal(gateway.inbox.index.byUid('1.2.3.9')!.state, 'received');
  });

  it('answers success to the same instance twice and 0x0111 to another under its UID', async () => {
    await start();
    const first = await write('first.dcm', '1.2.3.5');
    const other = await write('other.dcm', '1.2.3.5');
    const changed = Buffer.from(readFileSync(other));
    changed[changed.length - 1]! ^= 1;
    writeFileSync(other, changed);
    const { output } = await store([first, first, other], '--no-halt');
    assert.deepEqual(storeStatuses(output), ['0x0000', '0x0000', '0x0111']);
    assert.equal(gateway.inbox.index.list().length, 1);
    assert.equal(readdirSync(gateway.inbox.folders.aside).length, 1);
  });

  it('answers 0xa700 while less than `keepFreeMib` is free, and success afterwards', async () => {
    let freeBytes = 10;
    await start({ inbox: { keepFreeBytes: 1000, readDiskSpace: async () => ({ freeBytes }) } });
    const file = await write('full.dcm', '1.2.3.6');
    const refused = await store([file, file], '--no-halt');
    assert.deepEqual(storeStatuses(refused.output), ['0xa700', '0xa700']);
    freeBytes = 1e9;
    assert.deepEqual(storeStatuses((await store([file])).output), ['0x0000']);
  });

  it('refuses unknown callers, wrong called titles and SOP classes that are no images', async () => {
    await start();
    const file = await write('refused.dcm', '1.2.3.7');
    const unknown = await runProgram('storescu', '-aet', 'OTHER', '-aec', 'SALAD', ...peer(), file);
    assert.match(unknown.output, /Calling AE Title Not Recognized/);
    const wrong = await runProgram('storescu', '-aet', 'DX1', '-aec', 'PACS', ...peer(), file);
    assert.match(wrong.output, /Called AE Title Not Recognized/);
    const report = join(folder, 'report.dcm');
    const elements = { '00080016 UI': '1.2.840.10008.5.1.4.1.1.88.22', '00080018 UI': '1.2.3.8' };
    const image = { rows: ROWS, columns: COLUMNS, cells: CELLS, bitsStored: 12 };
    writeFileSync(report, await dicomFile({ ...image, elements }));
    assert.notEqual((await store([report])).code, 0);
    assert.deepEqual(gateway.inbox.index.list(), []);
    assert.deepEqual(gateway.events.slice(0, 2), ['refused callingAeTitle', 'refused calledAeTitle']);
  });

  it('keeps what four associations send at a time, 25 instances each', async () => {
    await start();
    const files = await Promise.all(
      Array.from({ length: 100 }, (_, index) => write(`many-${index}.dcm`, `1.2.4.${index}`)),
    );
    const groups = [0, 1, 2, 3].map((group) => files.slice(25 * group, 25 * group + 25));
    const results = await Promise.all(groups.map((group) => store(group)));
    assert.deepEqual(
      results.map(({ code }) => code),
      [0, 0, 0, 0],
    );
    assert.equal(gateway.inbox.index.list().length, 100);
    assert.equal(gateway.port.open, 0);
  });
});
