import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { loadConfig } from '../../src/config/load.js';
import type { ServeConfig } from '../../src/config/schema.js';
import { SERVICE_NAMES } from '../../src/server/server.js';
import { find, type KubernetesObject, podSpecs, render, variants } from '../support/programs/chart.js';
import { root } from '../support/root.js';

const SERVER = 'ci-salad-serve';
const plaintext = { tls: { mode: 'plaintext' } };

describe('the chart', function () {
  this.timeout(60_000);
  const rendered = new Map<string, KubernetesObject[]>();
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-chart-config-'));
    for (const [name, values] of await variants()) rendered.set(name, await render(values));
  });
  after(() => rmSync(folder, { recursive: true }));

  const configOf = (objects: readonly KubernetesObject[]): Promise<ServeConfig> => {
    const file = join(folder, 'config.yaml');
    writeFileSync(file, find(objects, 'ConfigMap', SERVER)['data']['config.yaml']);
    return loadConfig({ file });
  };
  const server = (objects: readonly KubernetesObject[]): KubernetesObject =>
    find(objects, 'Deployment')['spec'].template.spec;
  const variant = (name: string): KubernetesObject[] => {
    const objects = rendered.get(name);
    assert.ok(objects, name);
    return objects;
  };

  it('renders a configuration that the server accepts, in every variant', async () => {
    assert.ok(rendered.size >= 10);
    for (const [name, objects] of rendered) {
      const config = await configOf(objects);
      const ports = new Map(
        (server(objects)['containers'][0].ports as { name: string; containerPort: number }[]).map((port) => [
          port.name,
          `0.0.0.0:${port.containerPort}`,
        ]),
      );
      assert.deepEqual(
        [config.listen, config.healthListen, config.metricsListen],
        [ports.get('grpc'), ports.get('health'), ports.get('metrics') ?? ''],
        name,
      );
    }
  });

  it('routes every service of proto/, health and reflection', () => {
    const files = readdirSync(join(root, 'proto'), { recursive: true, encoding: 'utf8' });
    const own = files
      .filter((file) => file.endsWith('.proto'))
      .flatMap((file) => {
        const text = readFileSync(join(root, 'proto', file), 'utf8');
        const name = /^package ([\w.]+);/m.exec(text)?.[1];
        return [...text.matchAll(/^service (\w+)/gm)].map(([, service]) => `${name}.${service}`);
      });
    assert.deepEqual(new Set(own), new Set(SERVICE_NAMES));
    const standard = [
      'health.v1.Health',
      'reflection.v1.ServerReflection',
      'reflection.v1alpha.ServerReflection',
    ];
    const routes = [...rendered.values()].flat().filter(({ kind }) => kind === 'GRPCRoute');
    assert.ok(routes.length > 0);
    for (const { spec } of routes as KubernetesObject[]) {
      const [rule] = spec.rules as { matches: { method: { service: string } }[] }[];
      const services = rule?.matches.map(({ method }) => method.service);
      assert.deepEqual(new Set(services), new Set([...own, ...standard.map((name) => `grpc.${name}`)]));
    }
  });

  it('uses the image of the version of the program', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    assert.equal(server(variant('plaintext'))['containers'][0].image, `salad-serve:${version}`);
  });

  it('renders only pods that the restricted security standard accepts', () => {
    for (const [name, objects] of rendered) {
      const pods = podSpecs(objects);
      assert.ok(pods.length >= 2, name);
      for (const pod of pods) {
        assert.equal(pod['automountServiceAccountToken'], false);
        assert.equal(pod['enableServiceLinks'], false);
        assert.equal(pod['securityContext'].runAsNonRoot, true);
        assert.deepEqual(pod['securityContext'].seccompProfile, { type: 'RuntimeDefault' });
        for (const container of [...pod['containers'], ...(pod['initContainers'] ?? [])]) {
          assert.deepEqual(container.securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
        }
        const mounts = pod['containers'][0].volumeMounts as { name: string }[];
        const volumes = (pod['volumes'] as { name: string }[]).map((volume) => volume.name);
        assert.deepEqual(mounts.map((mount) => mount.name).sort(), volumes.sort(), name);
      }
    }
  });

  it('selects the pods of the server, and not those of its tests', () => {
    for (const [name, objects] of rendered) {
      const labels = find(objects, 'Deployment')['spec'].template.metadata.labels;
      const selectors = [
        find(objects, 'Deployment')['spec'].selector.matchLabels,
        find(objects, 'NetworkPolicy')['spec'].podSelector.matchLabels,
        ...objects.filter((each) => each['kind'] === 'Service').map((each) => each['spec'].selector),
        ...objects
          .filter((each) => ['PodDisruptionBudget', 'PodMonitor'].includes(each['kind']))
          .map((each) => each['spec'].selector.matchLabels),
      ];
      assert.ok(selectors.length >= 4, name);
      const matches = (selector: Record<string, string>, to: Record<string, string>) =>
        Object.entries(selector).every(([key, value]) => to[key] === value);
      const test = find(objects, 'Pod')['metadata'].labels;
      for (const selector of selectors) {
        assert.ok(matches(selector, labels), name);
        assert.ok(!matches(selector, test), name);
      }
    }
  });

  it('gives a pod time for the wait before the drain, the drain and the margin', async () => {
    const objects = await render({
      ...plaintext,
      drain: { preStopSeconds: 7, graceSeconds: 90, marginSeconds: 5 },
    });
    const pod = server(objects);
    assert.equal(pod['terminationGracePeriodSeconds'], 102);
    assert.deepEqual(pod['containers'][0].lifecycle.preStop, { sleep: { seconds: 7 } });
    assert.equal((await configOf(objects)).drainGraceMs, 90_000);
    const probe = (kind: string) => pod['containers'][0][`${kind}Probe`].grpc;
    assert.deepEqual([probe('startup'), probe('readiness')], [{ port: 50052 }, { port: 50052 }]);
    assert.deepEqual(probe('liveness'), { port: 50052, service: 'salad.live' });
  });

  it('requests a GPU, nodes with GPUs and the GPU image with one value', async () => {
    const gpu = server(variant('gpu'));
    assert.equal((await configOf(variant('gpu'))).engine, 'tensorflow');
    assert.match(gpu['containers'][0].image, /-gpu$/);
    assert.equal(gpu['containers'][0].resources.limits['nvidia.com/gpu'], 1);
    assert.deepEqual(gpu['nodeSelector'], {
      'kubernetes.io/arch': 'amd64',
      'nvidia.com/gpu.present': 'true',
    });
    assert.equal(gpu['tolerations'][0].key, 'nvidia.com/gpu');
    assert.equal((await configOf(variant('webgpu'))).engine, 'webgpu');
    assert.equal(server(variant('webgpu'))['runtimeClassName'], 'nvidia');
    const cpu = server(variant('plaintext'));
    assert.equal((await configOf(variant('plaintext'))).engine, 'onnx');
    assert.deepEqual(cpu['containers'][0].resources.limits, { cpu: '2', memory: '4Gi' });
    assert.equal(cpu['tolerations'], undefined);
  });

  it('uses the CPU image for the engine openvino', async () => {
    const objects = variant('openvino');
    const config = await configOf(objects);
    assert.deepEqual([config.engine, config.precision], ['openvino', 'bfloat16']);
    assert.doesNotMatch(server(objects)['containers'][0].image, /-gpu$/);
    assert.equal(server(objects)['tolerations'], undefined);
  });

  it('derives the number of engine threads from the resources of the pod, never from the node', async () => {
    const threads = async (values: object) => {
      const { env } = server(await render({ ...plaintext, ...values }))['containers'][0];
      const workers = env.find(({ name }: { name: string }) => name === 'SALAD_WORKERS');
      return workers?.valueFrom.resourceFieldRef.resource;
    };
    assert.equal(await threads({}), 'limits.cpu');
    assert.equal(await threads({ resources: { limits: { cpu: null } } }), 'requests.cpu');
    assert.equal(await threads({ config: { workers: 3 } }), undefined);
    // With 0 the server would use the cores that it sees, which are those of the node.
    assert.equal(await threads({ config: { workers: 0 } }), 'limits.cpu');
  });

  it('gives its objects valid names, whatever the name of the release', async () => {
    for (const release of ['7', '2024.x-ray', 'my.app', 'salad-serve', `a${'-b'.repeat(26)}`]) {
      const objects = await render(plaintext, release);
      for (const { kind, metadata } of objects) {
        assert.match(metadata.name, /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/, `${kind} of ${release}`);
      }
      const { name } = find(objects, 'Deployment')['metadata'];
      assert.ok(find(objects, 'Service', name) && find(objects, 'Service', `${name}-headless`));
    }
  });

  it('mounts additional volumes read-only into the server and the downloads', async () => {
    const extra = { extraVolumes: [{ name: 'extra', secret: { secretName: 'ca' } }] };
    const objects = await render({
      ...plaintext,
      ...extra,
      extraVolumeMounts: [{ name: 'extra', mountPath: '/etc/salad/extra', readOnly: true }],
      extraEnv: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/etc/salad/extra/ca.crt' }],
      models: { source: 'download', bundles: [{ url: 'https://x/y', sha256: '0'.repeat(64) }] },
      networkPolicy: { egress: [{ ports: [{ port: 443 }] }] },
    });
    const { containers, initContainers, volumes } = server(objects);
    for (const container of [containers[0], initContainers[0]]) {
      const mount = container.volumeMounts.find(({ name }: { name: string }) => name === 'extra');
      assert.deepEqual(mount, { name: 'extra', mountPath: '/etc/salad/extra', readOnly: true });
      assert.ok(container.env.some(({ name }: { name: string }) => name === 'NODE_EXTRA_CA_CERTS'));
    }
    assert.deepEqual(volumes.at(-1), extra.extraVolumes[0]);
    assert.equal((await configOf(variant('openvino'))).authJwks, '/etc/salad/extra/jwks.json');
  });

  it('sets no key twice, and prefers the annotations and variables of the user', async () => {
    const key = 'nginx.ingress.kubernetes.io/backend-protocol';
    const objects = await render({
      ...plaintext,
      ingress: { enabled: true, annotations: { [key]: 'HTTP' } },
      extraEnv: [{ name: 'OTEL_RESOURCE_ATTRIBUTES', value: 'site=north' }],
    });
    assert.deepEqual(find(objects, 'Ingress')['metadata'].annotations, { [key]: 'HTTP' });
    const names = server(objects)['containers'][0].env.map(({ name }: { name: string }) => name);
    assert.deepEqual(names, [...new Set(names)]);
  });

  it('reads certificates and keys from Secrets, and mounts no private key of the server into client pods', async () => {
    const objects = variant('mutual-tls');
    const config = await configOf(objects);
    const mounted = (path: string) =>
      server(objects)['containers'][0].volumeMounts.some((mount: { mountPath: string }) =>
        path.startsWith(`${mount.mountPath}/`),
      );
    for (const path of [
      config.tlsCertFile,
      config.tlsKeyFile,
      config.tlsClientCaFile,
      config.authApiKeysFile,
    ]) {
      assert.ok(mounted(path), path);
    }
    const certificate = find(objects, 'Certificate')['spec'];
    const job = find(objects, 'Job', `${SERVER}-load-1`)['spec'].template.spec;
    const target = /^dns:\/\/\/(.+):50051$/.exec(job.containers[0].args[2])?.[1];
    assert.ok(certificate.dnsNames.includes(target));
    assert.ok(certificate.dnsNames.includes('salad.radiology.example'));
    const secrets = job.volumes.filter((volume: KubernetesObject) => volume['secret']);
    assert.deepEqual(secrets[0].secret, {
      secretName: certificate.secretName,
      items: [{ key: 'ca.crt', path: 'ca.crt' }],
    });
    assert.equal(secrets[1].secret.secretName, 'load-client');
  });

  it('scales by the wait of tiles, without a fixed number of pods', () => {
    for (const name of ['autoscaling-hpa', 'autoscaling-keda']) {
      assert.equal(find(variant(name), 'Deployment')['spec'].replicas, undefined);
    }
    const [metric] = find(variant('autoscaling-hpa'), 'HorizontalPodAutoscaler')['spec'].metrics;
    assert.deepEqual(metric.pods.target, { type: 'AverageValue', averageValue: '400m' });
    const [trigger] = find(variant('autoscaling-keda'), 'ScaledObject')['spec'].triggers;
    assert.deepEqual([trigger.metricType, trigger.metadata.threshold], ['Value', '0.25']);
    assert.match(
      trigger.metadata.query,
      /salad_tile_queue_duration_sum\{namespace="salad", pod=~"ci-salad-serve-\.\+"\}/,
    );
  });

  it('mounts models of a claim, an artifact or a pinned download read-only into the server', async () => {
    for (const name of ['webgpu', 'models-oci', 'models-download']) {
      assert.deepEqual((await configOf(variant(name))).models, ['/models']);
      const mount = server(variant(name))['containers'][0].volumeMounts.find(
        (each: { name: string }) => each.name === 'models',
      );
      assert.equal(mount.readOnly, true);
    }
    const fetches = server(variant('models-download'))['initContainers'] as { args: string[] }[];
    assert.deepEqual(
      fetches.map(({ args }) => args.slice(0, 3)),
      [
        ['models', 'fetch', 'https://models.example/phantom/1'],
        ['models', 'fetch', 'https://models.example/chest-adult/1'],
      ],
    );
    assert.match(server(variant('models-oci'))['volumes'][2].image.reference, /@sha256:/);
  });

  it('allows connections from clients, probes and scrapes, and to the named destinations', () => {
    const { ingress, egress } = find(variant('mutual-tls'), 'NetworkPolicy')['spec'];
    assert.deepEqual(
      ingress.map((rule: KubernetesObject) => rule['ports'][0].port),
      ['grpc', 'health', 'metrics'],
    );
    assert.equal(
      ingress[0].from[0].namespaceSelector.matchLabels['kubernetes.io/metadata.name'],
      'radiology',
    );
    assert.deepEqual(ingress[0].from[1].podSelector.matchExpressions[0].values, ['load-test', 'test']);
    assert.deepEqual(
      egress.map((rule: KubernetesObject) => rule['ports'][0].port),
      [53, 4317],
    );
  });

  it('contains the alerts and the dashboard', () => {
    const rules = find(variant('mutual-tls'), 'PrometheusRule')['spec'].groups[0].rules;
    assert.ok(rules.some((rule: KubernetesObject) => rule['alert'] === 'SaladQueueing'));
    const dashboard = find(variant('mutual-tls'), 'ConfigMap', `${SERVER}-dashboard`)['data'];
    assert.equal(JSON.parse(dashboard['salad-serve.json']).uid, 'salad-serve');
  });
});
