// What values.yaml may hold, closed everywhere, each key with one sentence. scripts/helm/generate.mjs writes
// values.schema.json and the README of it; `config` comes from src/config, Kubernetes' own shapes from its OpenAPI.
const text = (description, more = {}) => ({ type: 'string', description, ...more });
const flag = (description) => ({ type: 'boolean', description });
const whole = (description, minimum = 0, maximum = 2 ** 31 - 1) => ({
  type: 'integer',
  minimum,
  maximum,
  description,
});
const choice = (description, ...values) => ({ enum: values, description });
const list = (description, items, more = {}) => ({ type: 'array', items, description, ...more });
const group = (properties, description) => ({
  type: 'object',
  ...(description ? { description } : {}),
  additionalProperties: false,
  properties,
});
const kubernetes = (name, description) => ({ $ref: `#/$defs/${name}`, description });

const CORE = 'io.k8s.api.core.v1';
const quantity = (description) => kubernetes('io.k8s.apimachinery.pkg.api.resource.Quantity', description);
/** Keys are the cluster's own, so only their form can be checked: [prefix/]name. */
const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
const labels = (description) => ({
  type: 'object',
  description,
  propertyNames: { pattern: LABEL_KEY },
  additionalProperties: { type: 'string' },
});
/** Values of labels. */
const labelValues = (description) => ({
  ...labels(description),
  additionalProperties: {
    type: 'string',
    pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
  },
});
const NAME = '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$';
const name = (description) => text(description, { pattern: NAME });
/** Of a whole. */
const PERCENT = '^(100|[0-9]{1,2})%$';
const DURATION = '^([0-9]+(h|m|s|ms))+$';
/** Resources of a container; those of devices have a domain: a misspelt "memmory" has none. */
const amounts = (description) => ({
  type: 'object',
  description,
  additionalProperties: false,
  properties: {
    cpu: quantity('Cores.'),
    memory: quantity('Bytes.'),
    'ephemeral-storage': quantity('Bytes of disk.'),
  },
  patternProperties: { '^([a-z0-9.-]+/.+|hugepages-.+)$': quantity('Devices and huge pages.') },
});
const monitor = (kind) =>
  group({
    enabled: flag(`Make a ${kind} (Prometheus operator).`),
    interval: text('Between scrapes.', { pattern: DURATION }),
    labels: labelValues("Labels by which the operator's selector finds it."),
  });
const probe = (what) =>
  group({
    periodSeconds: whole(`Between ${what} probes.`, 1),
    failureThreshold: whole(`${what} probes in a row that may fail.`, 1),
  });

/** Kinds of volumes that the restricted pod security standard allows: name in a Volume → definition. */
const VOLUMES = {
  configMap: 'ConfigMapVolumeSource',
  csi: 'CSIVolumeSource',
  emptyDir: 'EmptyDirVolumeSource',
  persistentVolumeClaim: 'PersistentVolumeClaimVolumeSource',
  projected: 'ProjectedVolumeSource',
  secret: 'SecretVolumeSource',
};
const PEER = 'io.k8s.api.networking.v1.NetworkPolicyPeer';

/** Definitions of Kubernetes that the values use, by their name in its OpenAPI. */
export const KUBERNETES = [
  ...[
    'Affinity',
    'Toleration',
    'EnvVar',
    'LocalObjectReference',
    'VolumeMount',
    ...Object.values(VOLUMES),
  ].map((kind) => `${CORE}.${kind}`),
  PEER,
  'io.k8s.api.networking.v1.NetworkPolicyEgressRule',
  'io.k8s.apimachinery.pkg.api.resource.Quantity',
];

/** @param config schema of the `config` group */
export const values = (config) => ({
  nameOverride: text("Instead of the chart's name in labels and names.", {
    pattern: '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$',
  }),
  fullnameOverride: text(
    'Instead of RELEASE-salad-serve as the name of every object: lower-case letters, digits and hyphens, a letter first, at most 52 characters.',
    { pattern: '^([a-z]([-a-z0-9]{0,50}[a-z0-9])?)?$' },
  ),
  engine: choice(
    'What scores: cpu (onnx on the processor), openvino (on the processor; faster on x86-64, scores differ in the last digits), webgpu (Vulkan on a GPU) or gpu (TensorFlow on CUDA). The last two ask for a GPU, its nodes and the image built for it.',
    'cpu',
    'openvino',
    'webgpu',
    'gpu',
  ),
  replicaCount: whole('Pods, where nothing scales them.', 0),
  image: group({
    repository: text('Image without tag.', { minLength: 1 }),
    tag: text("Empty: the chart's appVersion, with -gpu for webgpu and gpu.", {
      pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$|^$',
    }),
    digest: text('sha256:..., which wins over the tag.', { pattern: '^(sha256:[0-9a-f]{64})?$' }),
    pullPolicy: choice('When the kubelet pulls.', 'Always', 'IfNotPresent', 'Never'),
  }),
  imagePullSecrets: list('Secrets for the registry.', kubernetes(`${CORE}.LocalObjectReference`)),
  config,
  extraEnv: list(
    'More variables of the server and of downloads, such as OTEL_ ones; those of the server itself (SALAD_) are set under config.',
    kubernetes(`${CORE}.EnvVar`),
  ),
  extraVolumes: list(
    'More volumes of the pods, such as a file of keys for config.authJwks, or the authorities that NODE_EXTRA_CA_CERTS (extraEnv) names.',
    {
      ...group({
        name: text('Name of the volume.', { pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' }),
        ...Object.fromEntries(
          Object.entries(VOLUMES).map(([kind, definition]) => [
            kind,
            kubernetes(`${CORE}.${definition}`, "As in Kubernetes' Volume."),
          ]),
        ),
      }),
      required: ['name'],
    },
  ),
  extraVolumeMounts: list('Where the server and the downloads see them.', kubernetes(`${CORE}.VolumeMount`)),
  listenHost: choice('Address that the ports listen on; [::] for clusters of IPv6.', '0.0.0.0', '[::]'),
  tls: group(
    {
      mode: choice(
        'certManager (a Certificate is made), secret (you bring one) or plaintext (a mesh or a gateway encrypts). There is no default: choose.',
        '',
        'certManager',
        'secret',
        'plaintext',
      ),
      secretName: name(
        'Secret with tls.crt, tls.key, and ca.crt for the tests of the chart; certManager writes it.',
      ),
      clientCaSecretName: name('Secret with ca.crt: clients must bring a certificate of these authorities.'),
      clientSecretName: name(
        'Secret with tls.crt and tls.key that the load test and helm test connect with.',
      ),
      issuerRef: group({
        name: name('Issuer of the certificate.'),
        kind: text('Issuer or ClusterIssuer, or what an external issuer calls itself.'),
        group: text('API group of the issuer.'),
      }),
      dnsNames: list("More names in the certificate, beside the services'.", {
        type: 'string',
        minLength: 1,
      }),
      duration: text('Life of a certificate.', { pattern: DURATION }),
      renewBefore: text('How long before its end it is renewed; the server reads it again by itself.', {
        pattern: DURATION,
      }),
    },
    'Certificates are read again while streams run (config.securityReloadMs).',
  ),
  auth: group({
    apiKeysSecretName: name('Secret with api-keys.yaml: hashed API keys (`salad config make-key`).'),
    clientKeySecretName: name('Secret with api-key, the key that the load test and helm test send.'),
  }),
  models: group({
    source: choice(
      'Where bundles come from: image (those that ship), pvc, oci (an image volume, pinned by digest) or download (fetched by an init container, pinned by hash).',
      'image',
      'pvc',
      'oci',
      'download',
    ),
    claimName: name('pvc: the claim.'),
    subPath: text('pvc: folder in it that holds NAME/VERSION/.'),
    reference: text('oci: NAME@sha256:DIGEST.', { pattern: '^(\\S+@sha256:[0-9a-f]{64})?$' }),
    pullPolicy: choice('oci: when the kubelet pulls.', 'Always', 'IfNotPresent', 'Never'),
    bundles: list('download: one init container each.', {
      ...group({
        url: text('Folder with manifest.json and what it lists.', { pattern: '^https?://\\S+$' }),
        sha256: text('Of manifest.json (`salad models inspect`), which pins every other file.', {
          pattern: '^[0-9a-f]{64}$',
        }),
      }),
      required: ['url', 'sha256'],
    }),
    sizeLimit: quantity('download: most disk that they take.'),
  }),
  resources: group({
    requests: amounts('What is set aside for a pod (docs/how-to/size-a-node.md).'),
    limits: amounts(
      'What it may take; limits.cpu, else requests.cpu, is the number of engine threads, unless config.workers is set.',
    ),
  }),
  gpu: group({
    resource: text('Extended resource of the device plug-in.', { pattern: LABEL_KEY }),
    count: whole('Devices of a pod; the server uses one.', 1, 16),
    runtimeClassName: name('Runtime class, where the default one brings no driver.'),
    nodeSelector: labelValues('Nodes that have GPUs.'),
    tolerations: list('Taints of these nodes.', kubernetes(`${CORE}.Toleration`)),
  }),
  cache: group({
    sizeLimit: quantity('Disk for search indexes and compiled kernels; the root file system is read-only.'),
    claimName: name('A claim instead of an emptyDir: a GPU keeps its compiled kernels.'),
  }),
  drain: group(
    {
      preStopSeconds: whole(
        'Between leaving the endpoints and SIGTERM, so that routes are gone before calls are refused.',
        0,
        3600,
      ),
      graceSeconds: whole('How long running acquisitions may take to finish (drainGraceMs).', 0, 86400),
      marginSeconds: whole('For what comes after: telemetry is sent, the process ends.', 1, 600),
    },
    'The sum is terminationGracePeriodSeconds.',
  ),
  probes: group({
    port: whole('Port that answers grpc.health.v1 alone, in plaintext (healthListen).', 1024, 65535),
    startup: probe('startup'),
    liveness: probe('liveness'),
    readiness: probe('readiness'),
  }),
  updateStrategy: group({
    maxSurge: {
      anyOf: [whole('', 0), text('', { pattern: '^\\d+%$' })],
      description: 'Pods above the wanted number during a rollout.',
    },
    maxUnavailable: {
      anyOf: [whole('', 0), text('', { pattern: PERCENT })],
      description: 'Pods below it.',
    },
  }),
  podDisruptionBudget: group({
    enabled: flag('Make a PodDisruptionBudget.'),
    maxUnavailable: {
      anyOf: [whole('', 0), text('', { pattern: PERCENT })],
      description: 'Pods that may be evicted at once.',
    },
  }),
  topologySpread: group({
    enabled: flag('Spread pods over zones and nodes.'),
    zoneMaxSkew: whole('Most difference between zones.', 1),
    nodeMaxSkew: whole('Most difference between nodes.', 1),
    whenUnsatisfiable: choice('What happens where it cannot be kept.', 'ScheduleAnyway', 'DoNotSchedule'),
  }),
  nodeSelector: labelValues('Nodes to run on.'),
  tolerations: list('Taints to bear.', kubernetes(`${CORE}.Toleration`)),
  affinity: kubernetes(`${CORE}.Affinity`, 'Affinity of the pods.'),
  priorityClassName: name('Priority class of the pods.'),
  podAnnotations: labels('More annotations of the pods.'),
  podLabels: labelValues('More labels of the pods.'),
  serviceAccount: group({
    create: flag('Make a ServiceAccount; its token is never mounted.'),
    name: name('Its name, or that of an existing one.'),
    annotations: labels('Its annotations.'),
  }),
  service: group({
    type: choice('Kind of service.', 'ClusterIP', 'NodePort', 'LoadBalancer'),
    port: whole('Its port.', 1, 65535),
    annotations: labels('Its annotations.'),
  }),
  networkPolicy: group({
    enabled: flag('Allow only what is named here.'),
    clients: list('Who may call; empty: every pod of the namespace.', kubernetes(PEER)),
    metrics: list('Who may scrape; empty: every pod of the cluster.', kubernetes(PEER)),
    egress: list(
      'Where the server may connect to, beside names: telemetry, keys, models.',
      kubernetes('io.k8s.api.networking.v1.NetworkPolicyEgressRule'),
    ),
  }),
  autoscaling: group(
    {
      enabled: flag('Scale by the age of the queue.'),
      kind: choice('hpa (needs a metrics adapter) or keda.', 'hpa', 'keda'),
      minReplicas: whole('Fewest pods.', 1),
      maxReplicas: whole('Most pods.', 1),
      queueMilliseconds: whole('Mean wait of a tile above which pods are added.', 1, 60000),
      scaleDownStabilizationSeconds: whole('How long it must be calm before one goes.', 0, 3600),
      hpa: group({ metric: text("Name of the pods' metric: mean wait in seconds.", { minLength: 1 }) }),
      keda: group({
        serverAddress: text('Prometheus.', { pattern: '^(https?://\\S+)?$' }),
        query: text('Instead of the mean wait over the last minute, in seconds.'),
        pollingIntervalSeconds: whole('Between queries.', 1),
      }),
    },
    'Never by processor: it is busy long before anybody waits.',
  ),
  telemetry: group({
    metrics: group({
      enabled: flag('Offer /metrics to Prometheus.'),
      port: whole('Its port.', 1024, 65535),
    }),
    serviceMonitor: monitor('ServiceMonitor'),
    podMonitor: monitor('PodMonitor'),
    prometheusRule: group({
      enabled: flag('Make a PrometheusRule with the alerts of docs/how-to/monitor.md.'),
      labels: labelValues("Labels by which the operator's selector finds it."),
    }),
    dashboard: group({
      enabled: flag('Make a ConfigMap with a Grafana dashboard.'),
      labels: labelValues("Labels by which Grafana's sidecar finds it."),
    }),
    otlp: group({
      endpoint: text('Receiver of traces, and of metrics where Prometheus is off.', {
        pattern: '^(https?://\\S+)?$',
      }),
      protocol: choice('How it is spoken to.', 'grpc', 'http/protobuf', 'http/json'),
    }),
  }),
  grpcRoute: group({
    enabled: flag('Make a GRPCRoute (Gateway API).'),
    parentRefs: list('Gateways that take it.', {
      ...group({
        name: text('Gateway.', { minLength: 1 }),
        namespace: text('Its namespace.'),
        sectionName: text('Its listener.'),
        port: whole('Its port.', 1, 65535),
      }),
      required: ['name'],
    }),
    hostnames: list('Host names.', { type: 'string', minLength: 1 }),
    annotations: labels('Its annotations.'),
  }),
  ingress: group({
    enabled: flag('Make an Ingress; its controller must speak gRPC.'),
    className: name('Ingress class.'),
    host: text('Host name.'),
    tlsSecretName: name('Secret with the certificate for it.'),
    annotations: labels('Its annotations; long streams need long time-outs there.'),
  }),
  loadTest: group({
    enabled: flag('Run a Job that loads the server (`salad load`) with every install and upgrade.'),
    model: text('Which model.', { minLength: 1 }),
    streams: whole('Concurrent acquisitions.', 1, 100000),
    durationSeconds: whole('How long.', 1, 86400),
    slo: list('Objectives; the Job fails where one does not hold.', { type: 'string', minLength: 1 }),
  }),
  test: group({ model: text('Model that helm test scores with.', { minLength: 1 }) }),
  global: {
    type: 'object',
    description: 'Ignored; Helm passes it to every chart.',
    additionalProperties: true,
  },
});
