/** Storage commitment by Debian's Orthanc, which reports on an association that it opens to the gateway. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../../bench/support/free-port.js';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { Orthanc } from '../../support/dicom/orthanc.js';
import { addScored } from '../../support/dicom/scored-instance.js';
import { eventually } from '../../support/eventually.js';

const SCORED_MS = Date.UTC(2026, 10, 30);

describe('storage commitment by Orthanc', function () {
  this.timeout(180_000);
  let folder: string;
  let archive: Orthanc;
  let archivePort: number;
  let gatewayPort: number;
  let gateway: GatewayProcess | undefined;

  before(async function () {
    await needs(this, 'Orthanc');
    folder = mkdtempSync(join(tmpdir(), 'salad-commitment-'));
    archivePort = await freePort();
    gatewayPort = await freePort();
    archive = new Orthanc(join(folder, 'orthanc'), await freePort(), archivePort, {
      DicomServerEnabled: true,
      DicomAet: 'PACS',
      DicomCheckCalledAet: true,
      DicomModalities: {
        gateway: { AET: 'SALAD-OUT', Host: '127.0.0.1', Port: gatewayPort, AllowStorageCommitment: true },
      },
    });
    await archive.start();
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await archive?.kill();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const settingsWith = (listen: string) =>
    writeSettings(folder, {
      dicom: { listen, callers: [{ aeTitle: 'DX1' }] },
      server: { targets: ['127.0.0.1:1'], model: 'small' },
      destinations: [
        {
          ...{ name: 'pacs', dicom: `127.0.0.1:${archivePort}`, calledAeTitle: 'PACS' },
          ...{ callingAeTitle: 'SALAD-OUT', storageCommitment: true },
        },
      ],
    });
  const run = async (...args: readonly string[]) =>
    (await modality(...args, '--config', join(folder, 'gateway.yaml'), '--json')).lines[0]!;
  const objectsOf = async (id: number) => {
    const { deliveries } = (await run('show', String(id))) as {
      deliveries: { objects: { kind: string; state: string }[] }[];
    };
    return deliveries[0]!.objects.map(({ kind, state }) => [kind, state]);
  };

  it('ends deliveries after kill -9, and sends again what the archive has lost', async () => {
    const inbox = await Inbox.open(join(folder, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });
    const ids = [
      await addScored(inbox, '1.2.3', SCORED_MS, ['pacs']),
      await addScored(inbox, '1.2.4', SCORED_MS, ['pacs']),
    ];
    inbox.close();
    // On a port that the archive does not know: its reports do not arrive.
    gateway = await startGatewayProcess(settingsWith('127.0.0.1:0'));
    await eventually(async () =>
      assert.deepEqual((await run('status'))['awaitingCommitment'], [{ destination: 'pacs', count: 2 }]),
    );
    assert.match(
      (await modality('status', '--config', join(folder, 'gateway.yaml'))).stdout,
      /2 wait for the storage commitment of pacs/,
    );
    for (const id of ids) assert.deepEqual(await objectsOf(id), [['report', 'sent']]);
    const stored = await archive.instances('SR');
    assert.equal(stored.length, 2);
    await gateway.stop('SIGKILL');
    await archive.remove(stored[0]!);
    assert.equal((await archive.instances('SR')).length, 1);
    gateway = await startGatewayProcess(settingsWith(`127.0.0.1:${gatewayPort}`));
    for (const id of ids) {
      await eventually(async () => assert.deepEqual(await objectsOf(id), [['report', 'delivered']]));
    }
    assert.match(
      gateway.log(),
      /"result":"uncommitted","reason":"not committed: report has failure reason 0x0112"/,
    );
    assert.deepEqual([...(await archive.instances('SR'))].sort(), [...stored].sort());
    assert.deepEqual((await run('status'))['awaitingCommitment'], []);
    assert.equal(await gateway.stop(), 0);
  });
});
