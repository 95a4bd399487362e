import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { readSettings, type Settings } from '../../clients/modality/src/gateway/settings.js';
import { GATEWAY_METRICS } from '../../clients/modality/src/operations/metrics.js';
import {
  find,
  type KubernetesObject,
  MODALITY_CHART,
  podSpecs,
  render as renderChart,
  variants,
} from '../support/programs/chart.js';
import { root } from '../support/root.js';

const GATEWAY = 'ci-salad-modality';
const render = (values: object, release = 'ci') => renderChart(values, release, MODALITY_CHART);
/** The smallest sound values. */
const SOUND = {
  tls: { mode: 'plaintext' },
  config: { dicom: { callers: [{ aeTitle: 'DX1' }] } },
};
const server = { targets: ['salad-serve:50051'], model: 'phantom' };
const pacs = { name: 'pacs', url: 'https://pacs.example/dicom-web' };
const egress = { networkPolicy: { egress: [{ ports: [{ port: 50051 }] }] } };
const own = { 'app.kubernetes.io/name': 'other' };
const share = { name: 'share', persistentVolumeClaim: { claimName: 'share' } };
const withConfig = (config: object, more: object = {}) => ({
  ...SOUND,
  ...egress,
  config: { ...SOUND.config, ...config },
  ...more,
});

describe('the chart of the gateway', function () {
  this.timeout(120_000);
  const rendered = new Map<string, KubernetesObject[]>();
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-modality-chart-'));
    for (const [name, values] of await variants(MODALITY_CHART)) rendered.set(name, await render(values));
  });
  after(() => rmSync(folder, { recursive: true }));

  const settingsOf = (objects: readonly KubernetesObject[]): Promise<Settings> => {
    const file = join(folder, 'gateway.yaml');
    writeFileSync(file, find(objects, 'ConfigMap', GATEWAY)['data']['gateway.yaml']);
    return readSettings(file);
  };
  const pod = (objects: readonly KubernetesObject[]): KubernetesObject =>
    find(objects, 'StatefulSet')['spec'].template.spec;
  const variant = (name: string): KubernetesObject[] => {
    const objects = rendered.get(name);
    assert.ok(objects, name);
    return objects;
  };

  it('renders settings that the gateway accepts, with the ports of the container, in every variant', async () => {
    assert.ok(rendered.size >= 4);
    for (const [name, objects] of rendered) {
      const settings = await settingsOf(objects);
      const [container] = pod(objects)['containers'];
      const ports = Object.fromEntries(
        (container.ports as { name: string; containerPort: number }[]).map((port) => [
          port.name,
          port.containerPort,
        ]),
      );
      const portOf = (section: { readonly listen: string } | undefined) =>
        section && Number(section.listen.split(':').at(-1));
      assert.deepEqual(
        [portOf(settings.dicom), portOf(settings.stow), portOf(settings.operations)],
        [ports['dicom'], ports['stow'], ports['operations']],
        name,
      );
      const mounts = container.volumeMounts as { name: string; mountPath: string }[];
      const inbox = mounts.find((mount) => mount.name === 'inbox');
      assert.ok(inbox && settings.inbox.startsWith(`${inbox.mountPath}/`), name);
    }
  });

  it('uses the image of the version of the program', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    assert.equal(pod(variant('plaintext'))['containers'][0].image, `salad-modality:${version}`);
  });

  it('keeps the inbox of its only pod in a claim that outlives the release', () => {
    for (const [name, objects] of rendered) {
      const { spec } = find(objects, 'StatefulSet');
      assert.equal(spec.replicas, 1, name);
      const volumes = (spec.template.spec.volumes as { name: string }[]).map((volume) => volume.name);
      const claims = (spec.volumeClaimTemplates ?? []) as KubernetesObject[];
      if (name === 'watched-folder') assert.equal(claims.length, 0);
      else {
        assert.deepEqual(spec.persistentVolumeClaimRetentionPolicy, {
          whenDeleted: 'Retain',
          whenScaled: 'Retain',
        });
        // They cannot be changed, so that they must not depend on the version of the chart.
        assert.doesNotMatch(JSON.stringify(claims), /0\.1\.0/);
      }
      const all = [...volumes, ...claims.map((claim) => claim['metadata'].name)];
      const mounts = spec.template.spec.containers[0].volumeMounts as { name: string }[];
      assert.deepEqual(mounts.map((mount) => mount.name).sort(), all.sort(), name);
    }
  });

  it('renders only pods that the restricted security standard accepts', () => {
    for (const spec of [...rendered.values()].flatMap((objects) => podSpecs(objects))) {
      assert.equal(spec['automountServiceAccountToken'], false);
      assert.equal(spec['securityContext'].runAsNonRoot, true);
      assert.equal(spec['securityContext'].fsGroup, 10001);
      assert.deepEqual(spec['containers'][0].securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  });

  it('lets transfers finish before it is killed, and asks the operations port for health', async () => {
    const spec = pod(await render({ ...SOUND, drain: { preStopSeconds: 7, graceSeconds: 60 } }));
    assert.equal(spec['terminationGracePeriodSeconds'], 67);
    const [container] = spec['containers'];
    assert.deepEqual(container.lifecycle.preStop, { sleep: { seconds: 7 } });
    const get = (kind: string) => container[`${kind}Probe`].httpGet;
    assert.deepEqual(get('startup'), { path: '/livez', port: 'operations' });
    assert.deepEqual(get('liveness'), { path: '/livez', port: 'operations' });
    assert.deepEqual(get('readiness'), { path: '/readyz', port: 'operations' });
  });

  it('selects its pod with every service, policy and monitor, and keeps metrics off the port of modalities', () => {
    for (const [name, objects] of rendered) {
      const { labels } = find(objects, 'StatefulSet')['spec'].template.metadata;
      const selectors = [
        find(objects, 'StatefulSet')['spec'].selector.matchLabels,
        find(objects, 'NetworkPolicy')['spec'].podSelector.matchLabels,
        ...objects.filter(({ kind }) => kind === 'Service').map(({ spec }) => spec.selector),
        ...objects.filter(({ kind }) => kind === 'PodMonitor').map(({ spec }) => spec.selector.matchLabels),
      ];
      for (const selector of selectors) {
        for (const [key, value] of Object.entries(selector)) assert.equal(labels[key], value, name);
      }
      const operations = find(objects, 'Service', `${GATEWAY}-operations`)['spec'];
      assert.deepEqual([operations.type, operations.clusterIP], ['ClusterIP', 'None']);
      assert.equal(find(objects, 'StatefulSet')['spec'].serviceName, `${GATEWAY}-operations`);
      const entrance = objects.find(({ kind, metadata }) => kind === 'Service' && metadata.name === GATEWAY);
      assert.equal(entrance === undefined, name === 'watched-folder');
      assert.doesNotMatch(JSON.stringify(entrance ?? {}), /operations/);
    }
  });

  it('gives its objects valid names, whatever the name of the release', async () => {
    for (const release of ['7', '2024.x-ray', 'salad-modality', `a${'-b'.repeat(26)}`]) {
      for (const { kind, metadata } of await render(SOUND, release)) {
        assert.match(metadata.name, /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/, `${kind} of ${release}`);
      }
    }
  });

  it('restarts the pod when the settings change', async () => {
    const checksum = async (values: object) =>
      find(await render(values), 'StatefulSet')['spec'].template.metadata.annotations['checksum/config'];
    assert.notEqual(await checksum(SOUND), await checksum(withConfig({ logLevel: 'warn' })));
  });

  it('contains the alerts and the dashboard', () => {
    const objects = variant('mutual-tls');
    const { groups } = find(objects, 'PrometheusRule')['spec'];
    assert.ok(groups[0].rules.length >= 4);
    const dashboard = find(objects, 'ConfigMap', `${GATEWAY}-dashboard`)['data'];
    assert.equal(JSON.parse(dashboard['salad-modality.json']).uid, 'salad-modality');
  });

  for (const file of ['alerts.yaml', 'dashboard.json']) {
    it(`names only metrics and labels of the gateway in ${file}`, () => {
      const known = new Set<string>();
      for (const [name, { kind, attributes }] of Object.entries(GATEWAY_METRICS)) {
        const suffix = { counter: '_total', histogram: '_bucket', gauge: '' }[kind];
        known.add(`${name.replaceAll('.', '_')}${suffix}`);
        for (const attribute of attributes) known.add(attribute.replaceAll('.', '_'));
      }
      const text = readFileSync(join(MODALITY_CHART, 'files', file), 'utf8');
      const used = [...new Set(text.match(/\bsalad_\w+/g))];
      assert.ok(used.length > 6, used.join(' '));
      assert.deepEqual(
        used.filter((name) => !known.has(name)),
        [],
      );
    });
  }
});

/** Invalid values by fault; each is refused with a message that names the value. */
const REFUSED: Record<string, readonly (readonly [object, RegExp])[]> = {
  'a gateway that receives or delivers nothing': [
    [{}, /config: nothing to receive from/],
    [withConfig({ destinations: [pacs] }), /config\.destinations: results need config\.server/],
    [
      withConfig({ server: { ...server, targets: ['127.0.0.1:50051'] } }),
      /config\.server\.targets: 127\.0\.0\.1:50051 is the pod itself/,
    ],
  ],
  'ports without a choice of security': [
    [{ config: SOUND.config }, /tls\.mode: choose/],
    [{ ...SOUND, tls: { mode: 'certManager' } }, /tls\.issuerRef\.name/],
    [{ ...SOUND, tls: { mode: 'secret' } }, /tls\.secretName: set the Secret/],
    [
      { ...SOUND, tls: { mode: 'plaintext', clientCaSecretName: 'ca' } },
      /tls\.clientCaSecretName: needs tls\.mode/,
    ],
    [{ ...SOUND, config: { stow: {} } }, /config\.stow\.tokenFile: STOW-RS needs a token/],
  ],
  'a disk on which every instance would be refused': [
    [
      { ...SOUND, persistence: { size: '1Gi' } },
      /persistence\.size: 1Gi is not more than config\.keepFreeMib/,
    ],
    [
      withConfig({ keepFreeMib: 20_480 }, { persistence: { size: '20Gi' } }),
      /persistence\.size: 20Gi is not more/,
    ],
  ],
  'files and folders that are in no volume': [
    [
      withConfig({ server: { ...server, tokenFile: '/etc/salad-modality/files/token' } }),
      /filesSecretName: set the Secret that contains token \(config\.server\.tokenFile\)/,
    ],
    [
      withConfig({ server, destinations: [{ ...pacs, authorizationFile: '/secrets/pacs' }] }),
      /config\.destinations\[0\]\.authorizationFile: \/secrets\/pacs is in no volume/,
    ],
    [
      withConfig({ watch: [{ path: '/mnt/share' }] }),
      /config\.watch\[0\]\.path: \/mnt\/share is in no volume/,
    ],
    [
      withConfig(
        { watch: [{ path: '/mnt/share/dx1' }] },
        {
          extraVolumes: [share],
          extraVolumeMounts: [{ name: 'share', mountPath: '/mnt/share', readOnly: true }],
        },
      ),
      /config\.watch\[0\]\.path: \/mnt\/share\/dx1 is mounted read-only/,
    ],
  ],
  'callers that could not connect': [
    [{ ...SOUND, service: { type: 'NodePort' } }, /networkPolicy\.clients: with service\.type NodePort/],
    [
      {
        ...SOUND,
        config: { dicom: { callers: [{ aeTitle: 'DX1', address: '192.0.2.1' }] } },
        service: { type: 'LoadBalancer', externalTrafficPolicy: 'Cluster' },
        networkPolicy: { clients: [{ ipBlock: { cidr: '192.0.2.0/24' } }] },
      },
      /service\.externalTrafficPolicy: must be Local/,
    ],
    [{ ...SOUND, service: { dicomPort: 8080 } }, /service\.stowPort: must differ/],
  ],
  'values that would have no effect': [
    [{ ...SOUND, service: { dicomNodePort: 31112 } }, /service\.dicomNodePort: needs service\.type/],
    [
      { ...SOUND, service: { loadBalancerSourceRanges: ['192.0.2.0/24'] } },
      /service\.loadBalancerSourceRanges: needs/,
    ],
    [
      { ...SOUND, persistence: { existingClaim: 'c', storageClassName: 's' } },
      /persistence\.storageClassName: is not used/,
    ],
    [
      { ...SOUND, telemetry: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
      /would scrape every pod twice/,
    ],
  ],
  'destinations that the network policy would block': [
    [{ ...withConfig({ server }), networkPolicy: {} }, /networkPolicy\.egress: .*config\.server/],
  ],
  'keys and volumes that the chart sets itself': [
    [{ ...SOUND, podLabels: own }, /podLabels: the chart sets the label/],
    [{ ...SOUND, podAnnotations: { 'checksum/config': 'x' } }, /podAnnotations: the chart sets checksum/],
    [
      { ...SOUND, extraVolumes: [{ ...share, name: 'inbox' }] },
      /extraVolumes: the name inbox is already used/,
    ],
    [
      {
        ...SOUND,
        extraVolumes: [share],
        extraVolumeMounts: [{ name: 'share', mountPath: '/var/lib/salad-modality/inbox' }],
      },
      /extraVolumeMounts: \/var\/lib\/salad-modality\/inbox: the folder is used/,
    ],
    [withConfig({ inbox: '/tmp' }), /'inbox' not allowed/],
    [{ ...SOUND, config: { dicom: { listen: '0.0.0.0:104', callers: [] } } }, /'listen' not allowed/],
  ],
};

describe('the chart of the gateway refuses, with a message that names the value:', function () {
  this.timeout(120_000);
  for (const [fault, cases] of Object.entries(REFUSED)) {
    it(fault, async () => {
      for (const [values, message] of cases) {
        await assert.rejects(render(values), message, JSON.stringify(values));
      }
    });
  }
});
