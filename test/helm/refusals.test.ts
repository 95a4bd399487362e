import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { render } from '../support/programs/chart.js';

const plaintext = { tls: { mode: 'plaintext' } };
const bundle = { url: 'https://models.example/a/1', sha256: '0'.repeat(64) };
const own = { 'app.kubernetes.io/name': 'other' };
const volume = { name: 'extra', configMap: { name: 'extra' } };

/** Invalid values by fault: the API would refuse an object, the server would start wrong, or a value would do nothing. */
const REFUSED: Record<string, readonly (readonly [object, RegExp])[]> = {
  'values without a number of engine threads': [
    [{ resources: { limits: { cpu: null }, requests: { cpu: null } } }, /resources: set limits\.cpu/],
  ],
  'a rollout that cannot replace a pod': [
    [{ updateStrategy: { maxSurge: 0 } }, /must not both be 0/],
    [{ updateStrategy: { maxSurge: '0%', maxUnavailable: '0%' } }, /must not both be 0/],
    [{ updateStrategy: { maxUnavailable: '150%' } }, /\/updateStrategy\/maxUnavailable/],
  ],
  'two ports with one number': [
    [{ probes: { port: 50051 } }, /probes\.port: 50051 is the port of the server/],
    [{ telemetry: { metrics: { port: 50052 } } }, /telemetry\.metrics\.port: 50052 is the port of probes/],
    [
      { telemetry: { metrics: { port: 50051 } } },
      /telemetry\.metrics\.port: 50051 is the port of the server/,
    ],
  ],
  'names that are invalid for an object': [
    [{ fullnameOverride: 'my.app' }, /\/fullnameOverride/],
    [{ fullnameOverride: '1app' }, /\/fullnameOverride/],
    [{ fullnameOverride: 'a'.repeat(53) }, /\/fullnameOverride/],
    [{ nameOverride: 'my.app' }, /\/nameOverride/],
    [{ podLabels: { team: 'a b' } }, /\/podLabels\/team/],
  ],
  'keys that the chart sets itself': [
    [{ podLabels: own }, /podLabels: the chart sets the label app\.kubernetes\.io\/name/],
    [
      { telemetry: { serviceMonitor: { enabled: true, labels: own } } },
      /telemetry\.serviceMonitor\.labels: the chart sets/,
    ],
    [{ telemetry: { dashboard: { labels: own } } }, /telemetry\.dashboard\.labels: the chart sets/],
    [{ podAnnotations: { 'checksum/config': 'x' } }, /podAnnotations: the chart sets checksum/],
    [{ extraEnv: [{ name: 'SALAD_LISTEN', value: ':1' }] }, /extraEnv: SALAD_LISTEN would override/],
    [{ extraEnv: [{ name: 'POD_NAME', value: 'x' }] }, /extraEnv: POD_NAME is set twice/],
    [
      {
        extraEnv: [
          { name: 'A', value: '1' },
          { name: 'A', value: '2' },
        ],
      },
      /extraEnv: A is set twice/,
    ],
    [
      { engine: 'webgpu', resources: { limits: { 'nvidia.com/gpu': 1 } } },
      /resources\.limits: nvidia\.com\/gpu follows from gpu\.count/,
    ],
  ],
  'folders outside the volume': [
    [{ models: { source: 'pvc', claimName: 'c', subPath: '/abs' } }, /models\.subPath: \/abs/],
    [{ models: { source: 'pvc', claimName: 'c', subPath: '../x' } }, /models\.subPath: \.\.\/x/],
    [{ models: { source: 'pvc', claimName: 'c', subPath: 'a/../../x' } }, /models\.subPath/],
    [
      { loadTest: { enabled: true, mode: 'rows', files: { claimName: 'c', subPath: '../x' } } },
      /loadTest\.files\.subPath: \.\.\/x/,
    ],
  ],
  'values that would have no effect': [
    [
      { telemetry: { metrics: { enabled: false }, serviceMonitor: { enabled: true } } },
      /telemetry\.serviceMonitor: there is nothing to scrape/,
    ],
    [
      { telemetry: { metrics: { enabled: false }, podMonitor: { enabled: true } } },
      /telemetry\.podMonitor: there is nothing to scrape/,
    ],
    [
      { telemetry: { metrics: { enabled: false }, prometheusRule: { enabled: true } } },
      /telemetry\.prometheusRule: there are no metrics/,
    ],
    [
      { telemetry: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
      /would scrape every pod twice/,
    ],
    [{ models: { claimName: 'c' } }, /models\.claimName: is used by models\.source pvc only; it is image/],
    [{ models: { bundles: [bundle] } }, /models\.bundles: is used by models\.source download only/],
    [{ tls: { mode: 'plaintext', secretName: 's' } }, /tls\.secretName: is not used in tls\.mode plaintext/],
    [{ config: { precision: 'bfloat16' } }, /config\.precision: bfloat16 needs engine openvino; it is cpu/],
    [{ config: { precision: 'int8' } }, /config\.precision: int8 was removed/],
    [{ ingress: { enabled: true, tlsSecretName: 's' } }, /ingress\.host/],
  ],
  'functions that the network policy or the credentials would block': [
    [{ models: { source: 'download', bundles: [bundle] } }, /networkPolicy\.egress: .*models\.bundles/],
    [{ telemetry: { otlp: { endpoint: 'http://c:4317' } } }, /networkPolicy\.egress: .*telemetry\.otlp/],
    [
      { config: { authJwks: 'https://x/keys', authIssuer: 'i', authAudience: 'a' } },
      /networkPolicy\.egress: .*config\.authJwks/,
    ],
    [
      {
        tls: { mode: 'secret', secretName: 's', clientCaSecretName: 'ca' },
        loadTest: { enabled: true },
      },
      /tls\.clientSecretName: the load test needs a certificate/,
    ],
    [
      { auth: { apiKeysSecretName: 's' }, loadTest: { enabled: true } },
      /auth\.clientKeySecretName: the load test needs a key/,
    ],
  ],
  'contradictions of the load test': [
    [{ loadTest: { enabled: true, rate: 5, ramp: '1:2:1' } }, /loadTest\.ramp: choose one/],
    [{ loadTest: { enabled: true, rate: 5, intervalMs: 5 } }, /loadTest\.intervalMs/],
    [{ loadTest: { enabled: true, stablePercent: 5, generators: 2 } }, /loadTest\.stablePercent/],
    [{ loadTest: { enabled: true, streams: 2, generators: 3 } }, /loadTest\.streams/],
    [{ loadTest: { enabled: true, files: { claimName: 'c' } } }, /loadTest\.mode: choose image or rows/],
    [{ loadTest: { enabled: true, files: { subPath: 'images' } } }, /loadTest\.files\.claimName: set/],
    [{ loadTest: { enabled: true, results: { requests: 'csv' } } }, /set loadTest\.results\.claimName/],
  ],
  'conflicting volumes': [
    [{ extraVolumes: [{ ...volume, name: 'cache' }] }, /extraVolumes: the name cache is already used/],
    [{ extraVolumes: [volume, volume] }, /extraVolumes: the name extra is already used/],
    [{ extraVolumes: [{ name: 'extra' }] }, /extraVolumes: extra: give exactly one kind/],
    [{ extraVolumes: [{ name: 'extra', hostPath: { path: '/' } }] }, /'hostPath' not allowed/],
    [
      { extraVolumeMounts: [{ name: 'tls', mountPath: '/x' }] },
      /extraVolumeMounts: tls is not in extraVolumes/,
    ],
    [
      { extraVolumes: [volume], extraVolumeMounts: [{ name: 'extra', mountPath: '/etc/salad/tls' }] },
      /extraVolumeMounts: \/etc\/salad\/tls: .* another volume/,
    ],
  ],
};

describe('the chart refuses, with a message that names the value:', function () {
  this.timeout(120_000);
  for (const [fault, cases] of Object.entries(REFUSED)) {
    it(fault, async () => {
      for (const [values, message] of cases) {
        await assert.rejects(render({ ...plaintext, ...values }), message, JSON.stringify(values));
      }
    });
  }
});
