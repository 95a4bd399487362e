import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { parseAllDocuments, stringify } from 'yaml';
import { dicomFile } from '../../bench/support/dicom-file.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { runProgram, storeStatuses } from '../support/dicom/dicom-programs.js';
import type { KubernetesObject } from '../support/programs/chart.js';
import { podman, readyLine, stateOf } from '../support/programs/container.js';
import { root } from '../support/root.js';

const GATEWAY = 'salad-modality-gateway';
const STATUS = ['/app/dist/clients/modality/src/main.js', 'status', '--json'];
const CONFIG = ['--config', '/etc/salad-modality/config/gateway.yaml'];

/** clients/modality/deploy/pod.yaml as it is, on free ports of loopback. */
describe('the pod of the gateway and a server, with podman kube play', function () {
  this.timeout(300_000);
  let folder: string;
  let file: string;
  let port: number;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-pod-'));
    file = join(folder, 'pod.yaml');
    const [dicom = 0, grpc = 0] = await freePorts(2);
    port = dicom;
    const text = readFileSync(join(root, 'clients/modality/deploy/pod.yaml'), 'utf8')
      .replaceAll('0.0.0.0:11112', `127.0.0.1:${dicom}`)
      .replaceAll('50051', String(grpc));
    const objects = parseAllDocuments(text).map((each) => each.toJS() as KubernetesObject);
    for (const { kind, spec } of objects) {
      if (kind !== 'Pod') continue;
      spec.hostNetwork = true;
      for (const container of spec.containers) delete container.ports;
    }
    writeFileSync(
      file,
      objects.map((each) => stringify(each, { aliasDuplicateObjects: false })).join('---\n'),
    );
    await podman('kube', 'play', file);
    await Promise.all([readyLine(GATEWAY), readyLine('salad-modality-server')]);
  });
  after(async () => {
    await podman('kube', 'down', file);
    await podman('volume', 'rm', '--force', 'salad-modality');
    rmSync(folder, { recursive: true });
  });

  it('scores what a modality sends, and keeps it when the pod is taken down and played again', async () => {
    const { samples } = makePhantom({ seed: 5, size: 256, lesion: 'effusion' });
    const elements = { '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1', '00080018 UI': '1.2.3' };
    const image = join(folder, 'image.dcm');
    const size = { rows: 256, columns: 256 };
    writeFileSync(image, await dicomFile({ ...size, cells: samples, bitsStored: 12, elements }));
    const peer = ['-aet', 'DX1', '-aec', 'SALAD', '127.0.0.1', String(port)];
    const sent = await runProgram('storescu', '-v', '-d', ...peer, image);
    assert.deepEqual(storeStatuses(sent.output), ['0x0000'], sent.output);
    while ((await scored()) !== 1) await new Promise((done) => setTimeout(done, 200));
    await podman('kube', 'down', file);
    await podman('kube', 'play', file);
    await readyLine(GATEWAY);
    assert.equal(await scored(), 1);
    assert.equal((await stateOf(GATEWAY)).running, 'true');
  });
});

async function scored(): Promise<number> {
  const { counts } = JSON.parse(await podman('exec', GATEWAY, 'node', ...STATUS, ...CONFIG)) as {
    readonly counts: Readonly<Record<string, number>>;
  };
  assert.equal(counts['dead-letter'], 0);
  return counts['scored'] ?? 0;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  for (const server of servers) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) await new Promise((done) => server.close(done));
  return ports;
}
