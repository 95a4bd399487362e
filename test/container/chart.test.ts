import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { find, type KubernetesObject, render } from '../support/programs/chart.js';
import { logOf, podman, readyLine, stateOf } from '../support/programs/container.js';
import { salad } from '../support/programs/salad.js';
import { connect, end, header, rows } from '../support/protocol/grpc-client.js';
import { healthClient } from '../support/protocol/health-client.js';
import { smallImage } from '../support/servers/small-server.js';

const SERVER = 'ci-salad-serve-pod-0-server';
const SIDE = 64;

/** Runs the objects of the chart in podman; `forPodman` makes the only changes. */
describe('the chart in podman', function () {
  this.timeout(300_000);
  let folder: string;
  let objects: KubernetesObject[];
  let ports: { grpc: number; health: number; metrics: number };

  const play = async (name: string, ...parts: readonly KubernetesObject[]) => {
    const file = join(folder, `${name}.yaml`);
    writeFileSync(
      file,
      parts
        .map((part) => stringify(part))
        .join('---\n')
        .replaceAll('50051', String(ports.grpc)),
    );
    await podman('kube', 'play', file);
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-play-'));
    const [grpc = 0, health = 0, metrics = 0] = await freePorts(3);
    ports = { grpc, health, metrics };
    objects = await render({
      replicaCount: 1,
      image: { repository: 'localhost/salad-serve', tag: 'cpu', pullPolicy: 'Never' },
      tls: { mode: 'plaintext' },
      probes: { port: health },
      telemetry: { metrics: { port: metrics } },
      loadTest: { enabled: true, streams: 2, durationSeconds: 2 },
    });
    await play(
      'server',
      find(objects, 'ConfigMap', 'ci-salad-serve'),
      forPodman(find(objects, 'Deployment')),
    );
    await readyLine(SERVER);
  });

  after(async () => {
    await podman('pod', 'rm', '--force', '--ignore', 'ci-salad-serve-pod-0', 'ci-salad-serve-load-1');
    await podman('volume', 'rm', '--force', 'ci-salad-serve', 'cache');
    rmSync(folder, { recursive: true });
  });

  it('answers probes and offers metrics', async () => {
    const health = healthClient(`127.0.0.1:${ports.health}`);
    assert.equal(await health.check(''), 'SERVING');
    assert.equal(await health.check('salad.live'), 'SERVING');
    health.close();
    const metrics = await (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text();
    assert.match(metrics, /^salad_bank_prototypes\{/m);
    // As many engine threads as the pod has cores.
    const slots = Number(/^salad_slots_free(?:\{[^}]*\})? (\d+)/m.exec(metrics)?.[1]);
    assert.equal(
      slots,
      2 * Number(find(objects, 'Deployment')['spec'].template.spec.containers[0].resources.limits.cpu),
    );
  });

  it('scores an image for a client', async () => {
    await salad('phantom', '--count', '1', '--seed', '5', '--lesion', 'effusion', '--out', folder);
    const file = /effusion\/\S+\.png/.exec(readFileSync(join(folder, 'manifest.tsv'), 'utf8'))?.[0] ?? '';
    const target = `127.0.0.1:${ports.grpc}`;
    const { code, lines } = await salad(
      'score',
      join(folder, file),
      '--target',
      target,
      '--model',
      'phantom',
      '--json',
    );
    assert.equal(code, 0);
    assert.equal(lines[0]?.['decision'], 'anomalous');
  });

  it('passes its load-test Job', async () => {
    const job = find(objects, 'Job');
    // podman does not support Jobs, and there is no cluster DNS: runs the pod with an address.
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: job['metadata'].name },
      spec: job['spec'].template.spec,
    };
    pod.spec.containers[0].args[2] = '127.0.0.1:50051';
    await play('load', forPodman(pod));
    const container = `${job['metadata'].name}-load`;
    await podman('wait', container);
    const log = await logOf(container);
    assert.equal((await stateOf(container)).exitCode, 0, log);
    assert.match(log, /"failed":0\b/);
  });

  it('finishes running acquisitions after SIGTERM, and exits with 0', async () => {
    const client = connect(`127.0.0.1:${ports.grpc}`);
    const health = healthClient(`127.0.0.1:${ports.health}`);
    const call = client.streamAcquisition();
    const accepted = new Promise((done) => call.once('data', done));
    const kinds: (string | undefined)[] = [];
    call.on('data', (response: { payload?: { $case: string } }) => kinds.push(response.payload?.$case));
    const ended = new Promise((done, fail) => call.once('end', done).once('error', fail));
    call.write({ payload: header({ model: { name: 'phantom' } }) });
    await accepted;
    const grace = find(objects, 'Deployment')['spec'].template.spec.terminationGracePeriodSeconds;
    const stopped = podman('stop', '--time', String(grace), SERVER);
    while ((await health.check('')) !== 'NOT_SERVING') await new Promise((done) => setTimeout(done, 50));
    assert.equal(await health.check('salad.live'), 'SERVING');
    call.write({ payload: rows(smallImage(1), SIDE, 0, SIDE) });
    call.write({ payload: end() });
    call.end();
    await ended;
    assert.equal(kinds.at(-1), 'aggregate');
    client.close();
    health.close();
    await stopped;
    assert.equal((await stateOf(SERVER)).exitCode, 0);
  });
});

/** Adapts an object to containers in the network of the host: no port mappings, one network for all pods. */
function forPodman(object: KubernetesObject): KubernetesObject {
  const copy = structuredClone(object);
  const pod = copy['spec'].template?.spec ?? copy['spec'];
  pod.hostNetwork = true;
  for (const container of pod.containers) delete container.ports;
  return copy;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
