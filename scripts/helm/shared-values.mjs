// Values that the charts of this repository have in common.
import {
  CORE,
  choice,
  DURATION,
  flag,
  group,
  kubernetes,
  labels,
  labelValues,
  list,
  name,
  PEER,
  text,
  VOLUMES,
  whole,
} from './schema.mjs';

const monitor = (kind) =>
  group({
    enabled: flag(`Create a ${kind} (Prometheus operator).`),
    interval: text('Time between scrapes.', { pattern: DURATION }),
    labels: labelValues('Labels that the selector of the operator matches.'),
  });

/** @param page with the alerts */
export const monitoring = (page) => ({
  serviceMonitor: monitor('ServiceMonitor'),
  podMonitor: monitor('PodMonitor'),
  prometheusRule: group({
    enabled: flag(`Create a PrometheusRule with the alerts of ${page}.`),
    labels: labelValues('Labels that the selector of the operator matches.'),
  }),
  dashboard: group({
    enabled: flag('Create a ConfigMap with a Grafana dashboard.'),
    labels: labelValues('Labels that the sidecar of Grafana matches.'),
  }),
});

const probe = (kind) =>
  group({
    periodSeconds: whole(`Time between ${kind} probes.`, 1),
    failureThreshold: whole(`Number of ${kind} probes in a row that must fail to count as a failure.`, 1),
  });
export const probes = {
  startup: probe('startup'),
  liveness: probe('liveness'),
  readiness: probe('readiness'),
};

/** `clients` and `egress` describe these lists. */
export const networkPolicy = (clients, egress) =>
  group({
    enabled: flag('Create a NetworkPolicy that allows only the connections named here.'),
    clients: list(clients, kubernetes(PEER)),
    metrics: list('Pods that may scrape metrics; empty: every pod of the cluster.', kubernetes(PEER)),
    egress: list(egress, kubernetes('io.k8s.api.networking.v1.NetworkPolicyEgressRule')),
  });

export const listenHost = choice(
  'Address that the ports listen on; [::] for IPv6 clusters.',
  '0.0.0.0',
  '[::]',
);

/** @param longest number of characters that leaves room for the longest suffix of a name */
export const names = (chart, longest) => ({
  nameOverride: text('Replaces the name of the chart in labels and names.', {
    pattern: '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$',
  }),
  fullnameOverride: text(
    `Replaces RELEASE-${chart} as the name of every object: lower-case letters, digits and hyphens, a letter first, at most ${longest} characters.`,
    { pattern: `^([a-z]([-a-z0-9]{0,${longest - 2}}[a-z0-9])?)?$` },
  ),
});

/** @param tag what the tag is if none is given */
export const image = (tag) => ({
  image: group({
    repository: text('Image name without tag.', { minLength: 1 }),
    tag: text(`Image tag; empty: ${tag}.`, { pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$|^$' }),
    digest: text('Image digest sha256:..., used instead of the tag.', {
      pattern: '^(sha256:[0-9a-f]{64})?$',
    }),
    pullPolicy: choice('When the kubelet pulls the image.', 'Always', 'IfNotPresent', 'Never'),
  }),
  imagePullSecrets: list('Secrets for the image registry.', kubernetes(`${CORE}.LocalObjectReference`)),
});

export const extraEnv = (description) => list(description, kubernetes(`${CORE}.EnvVar`));
export const extraVolumeMounts = (description) => list(description, kubernetes(`${CORE}.VolumeMount`));
export const extraVolumes = (description) =>
  list(description, {
    ...group({
      name: text('Name of the volume.', { pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' }),
      ...Object.fromEntries(
        Object.entries(VOLUMES).map(([kind, definition]) => [
          kind,
          kubernetes(`${CORE}.${definition}`, 'As in a Kubernetes Volume.'),
        ]),
      ),
    }),
    required: ['name'],
  });

export const issuerRef = group({
  name: name('Name of the issuer of the certificate.'),
  kind: text('Kind of the issuer: Issuer, ClusterIssuer or the kind of an external issuer.'),
  group: text('API group of the issuer.'),
});

export const scheduling = {
  nodeSelector: labelValues('Labels of the nodes for the pods.'),
  tolerations: list('Tolerations of the pods.', kubernetes(`${CORE}.Toleration`)),
  affinity: kubernetes(`${CORE}.Affinity`, 'Affinity of the pods.'),
  priorityClassName: name('Priority class of the pods.'),
  podAnnotations: labels('Additional annotations of the pods.'),
  podLabels: labelValues('Additional labels of the pods.'),
  serviceAccount: group({
    create: flag('Create a ServiceAccount; its token is never mounted.'),
    name: name('Name of the ServiceAccount to create, or of an existing one.'),
    annotations: labels('Annotations of the ServiceAccount.'),
  }),
};

export const ignored = {
  type: 'object',
  description: 'Ignored; Helm passes this value to every chart.',
  additionalProperties: true,
};
