// The schema of values.yaml: every object refuses unknown keys, and every key has one sentence. scripts/helm/generate.mjs
// writes values.schema.json and the README from it; `config` comes from src/config, Kubernetes types from its OpenAPI
// document.
import {
  amounts,
  CORE,
  choice,
  DURATION,
  flag,
  group,
  kubernetes,
  LABEL_KEY,
  labels,
  labelValues,
  list,
  name,
  number,
  PERCENT,
  quantity,
  text,
  whole,
} from './schema.mjs';
import * as shared from './shared-values.mjs';

/** @param config schema of the group `config` */
export const values = (config) => ({
  ...shared.names('salad-serve', 52),
  engine: choice(
    'Inference engine: cpu (onnx on the CPU), openvino (on the CPU; faster on x86-64, scores differ in the last digits), webgpu (Vulkan on a GPU) or gpu (TensorFlow on CUDA). The last two request a GPU, nodes with GPUs and the GPU image.',
    'cpu',
    'openvino',
    'webgpu',
    'gpu',
  ),
  replicaCount: whole('Number of pods without autoscaling.', 0),
  ...shared.image('the appVersion of the chart, with -gpu for webgpu and gpu'),
  config,
  extraEnv: shared.extraEnv(
    'Additional environment variables of the server and of model downloads, such as OTEL_ variables. Set the settings of the server (SALAD_ variables) under config instead.',
  ),
  extraVolumes: shared.extraVolumes(
    'Additional volumes of the pods, such as a file for config.authJwks, or the certificates for NODE_EXTRA_CA_CERTS (extraEnv).',
  ),
  extraVolumeMounts: shared.extraVolumeMounts(
    'Mounts of the additional volumes in the containers of the server and of model downloads.',
  ),
  listenHost: shared.listenHost,
  tls: group(
    {
      mode: choice(
        'Source of the certificate: certManager (the chart creates a Certificate), secret (you provide a Secret) or plaintext (no TLS; only if a mesh or a gateway encrypts). There is no default.',
        '',
        'certManager',
        'secret',
        'plaintext',
      ),
      secretName: name(
        'Secret with tls.crt, tls.key, and ca.crt for the tests of the chart. In mode certManager, cert-manager writes it.',
      ),
      clientCaSecretName: name(
        'Secret with ca.crt: clients must present a certificate of these authorities.',
      ),
      clientSecretName: name(
        'Secret with tls.crt and tls.key: the client certificate of the load test and of helm test.',
      ),
      issuerRef: shared.issuerRef,
      dnsNames: list('Names in the certificate, in addition to those of the services.', {
        type: 'string',
        minLength: 1,
      }),
      duration: text('Validity of a certificate.', { pattern: DURATION }),
      renewBefore: text(
        'Time before the end of validity at which the certificate is renewed; the server reloads it by itself.',
        { pattern: DURATION },
      ),
    },
    'TLS. The server reloads changed certificates while streams are running (config.securityReloadMs).',
  ),
  auth: group({
    apiKeysSecretName: name('Secret with api-keys.yaml: the hashed API keys (`salad config make-key`).'),
    clientKeySecretName: name('Secret with api-key: the API key of the load test and of helm test.'),
  }),
  models: group({
    source: choice(
      'Source of the bundles: image (the shipped models), pvc (a persistent volume claim), oci (an image volume, pinned by digest) or download (by an init container, pinned by hash).',
      'image',
      'pvc',
      'oci',
      'download',
    ),
    claimName: name('pvc: name of the claim.'),
    subPath: text('pvc: folder in the volume that contains NAME/VERSION/.'),
    reference: text('oci: NAME@sha256:DIGEST.', { pattern: '^(\\S+@sha256:[0-9a-f]{64})?$' }),
    pullPolicy: choice('oci: when the kubelet pulls the image.', 'Always', 'IfNotPresent', 'Never'),
    bundles: list('download: the bundles; each is downloaded by one init container.', {
      ...group({
        url: text('Address of the folder with manifest.json and the files that it lists.', {
          pattern: '^https?://\\S+$',
        }),
        sha256: text(
          'SHA-256 of manifest.json (printed by `salad models inspect`), which contains the hashes of the other files.',
          { pattern: '^[0-9a-f]{64}$' },
        ),
      }),
      required: ['url', 'sha256'],
    }),
    sizeLimit: quantity('download: maximum disk space of the bundles.'),
  }),
  resources: group({
    requests: amounts('Resources reserved for a pod (docs/how-to/size-a-node.md).'),
    limits: amounts(
      'Maximum resources of a pod. The number of engine threads is limits.cpu, or requests.cpu without a limit, unless config.workers is set.',
    ),
  }),
  gpu: group({
    resource: text('Extended resource of the device plug-in.', { pattern: LABEL_KEY }),
    count: whole('Number of devices per pod; the server uses one.', 1, 16),
    runtimeClassName: name('Runtime class, if the default one does not provide the GPU driver.'),
    nodeSelector: labelValues('Labels of the nodes with GPUs.'),
    tolerations: list('Tolerations for the taints of these nodes.', kubernetes(`${CORE}.Toleration`)),
  }),
  cache: group({
    sizeLimit: quantity(
      'Disk space for search indexes and compiled kernels; the root file system is read-only.',
    ),
    claimName: name(
      'Persistent volume claim to use instead of an emptyDir, so that compiled GPU kernels survive a restart.',
    ),
  }),
  drain: group(
    {
      preStopSeconds: whole(
        'Time between the removal of the pod from the endpoints and SIGTERM, so that routes are updated before the server refuses calls.',
        0,
        3600,
      ),
      graceSeconds: whole('Maximum time for running acquisitions to finish (drainGraceMs).', 0, 86400),
      marginSeconds: whole('Time after the drain, for sending telemetry and ending the process.', 1, 600),
    },
    'Shutdown of a pod. terminationGracePeriodSeconds is the sum of the three times.',
  ),
  probes: group({
    port: whole('Port that serves only grpc.health.v1, without TLS (healthListen).', 1024, 65535),
    ...shared.probes,
  }),
  updateStrategy: group({
    maxSurge: {
      anyOf: [whole('', 0), text('', { pattern: '^\\d+%$' })],
      description: 'Maximum number of additional pods during a rollout.',
    },
    maxUnavailable: {
      anyOf: [whole('', 0), text('', { pattern: PERCENT })],
      description: 'Maximum number of missing pods during a rollout.',
    },
  }),
  podDisruptionBudget: group({
    enabled: flag('Create a PodDisruptionBudget.'),
    maxUnavailable: {
      anyOf: [whole('', 0), text('', { pattern: PERCENT })],
      description: 'Maximum number of pods that may be evicted at the same time.',
    },
  }),
  topologySpread: group({
    enabled: flag('Spread the pods over zones and nodes.'),
    zoneMaxSkew: whole('Maximum difference in the number of pods between zones.', 1),
    nodeMaxSkew: whole('Maximum difference in the number of pods between nodes.', 1),
    whenUnsatisfiable: choice(
      'Scheduling of a pod that would exceed the maximum difference.',
      'ScheduleAnyway',
      'DoNotSchedule',
    ),
  }),
  ...shared.scheduling,
  service: group({
    type: choice('Type of the Service.', 'ClusterIP', 'NodePort', 'LoadBalancer'),
    port: whole('Port of the Service.', 1, 65535),
    annotations: labels('Annotations of the Service.'),
  }),
  networkPolicy: shared.networkPolicy(
    'Pods that may call the server; empty: every pod of the namespace.',
    'Destinations that the server may connect to, such as for telemetry, token keys and models. DNS is always allowed.',
  ),
  autoscaling: group(
    {
      enabled: flag('Scale the number of pods by the mean wait of a tile.'),
      kind: choice('Autoscaler: hpa (needs a metrics adapter) or keda.', 'hpa', 'keda'),
      minReplicas: whole('Minimum number of pods.', 1),
      maxReplicas: whole('Maximum number of pods.', 1),
      queueMilliseconds: whole('Mean wait of a tile above which pods are added.', 1, 60000),
      scaleDownStabilizationSeconds: whole('Time without need for a pod before it is removed.', 0, 3600),
      hpa: group({
        metric: text('hpa: name of the pod metric with the mean wait in seconds.', { minLength: 1 }),
      }),
      keda: group({
        serverAddress: text('keda: address of Prometheus.', { pattern: '^(https?://\\S+)?$' }),
        query: text('keda: query that replaces the mean wait over the last minute, in seconds.'),
        pollingIntervalSeconds: whole('keda: time between queries.', 1),
      }),
    },
    'Autoscaling uses the wait and not the CPU load, which is high long before tiles have to wait.',
  ),
  telemetry: group({
    metrics: group({
      enabled: flag('Offer /metrics for Prometheus.'),
      port: whole('Port of /metrics.', 1024, 65535),
    }),
    ...shared.monitoring('docs/how-to/monitor.md'),
    otlp: group({
      endpoint: text('Receiver of traces, and of metrics if telemetry.metrics.enabled is false.', {
        pattern: '^(https?://\\S+)?$',
      }),
      protocol: choice('Protocol of the receiver.', 'grpc', 'http/protobuf', 'http/json'),
    }),
  }),
  grpcRoute: group({
    enabled: flag('Create a GRPCRoute (Gateway API).'),
    parentRefs: list('Gateways of the route.', {
      ...group({
        name: text('Name of the gateway.', { minLength: 1 }),
        namespace: text('Namespace of the gateway.'),
        sectionName: text('Listener of the gateway.'),
        port: whole('Port of the gateway.', 1, 65535),
      }),
      required: ['name'],
    }),
    hostnames: list('Host names of the route.', { type: 'string', minLength: 1 }),
    annotations: labels('Annotations of the GRPCRoute.'),
  }),
  ingress: group({
    enabled: flag('Create an Ingress; its controller must support gRPC.'),
    className: name('Ingress class.'),
    host: text('Host name of the Ingress.'),
    tlsSecretName: name('Secret with the certificate for the host name.'),
    annotations: labels('Annotations of the Ingress, such as the long timeouts that long streams need.'),
  }),
  loadTest: group({
    enabled: flag('Run a Job that loads the server (`salad load`) after every install and upgrade.'),
    model: text('Model for the load test.', { minLength: 1 }),
    mix: list('Kinds of a mixed load, such as phantom,priority=stat,weight=1 (`--mix`), instead of model.', {
      type: 'string',
      minLength: 1,
    }),
    mode: choice('Form of what is sent.', 'tiles', 'rows', 'image'),
    priority: choice('Priority class of the acquisitions.', 'stat', 'routine', 'background'),
    size: whole('Rows and columns of the synthetic image.', 64, 4096),
    files: group(
      {
        claimName: name('Claim with the images (ReadOnlyMany or ReadWriteMany with several generators).'),
        subPath: text('Folder of images, or one image, in the volume of the claim; empty: its top folder.'),
      },
      'Images to send in turn instead of the synthetic one (`--files`): PNG, JPEG and DICOM, mounted read-only. Set mode to image or rows, and memory in resources for all images, which are read before the load.',
    ),
    streams: whole('Number of concurrent acquisitions, of all generators together.', 1, 100000),
    rate: number('Acquisitions per second of all generators together, at random times; 0: streams instead.'),
    ramp: text('Rates to measure one after another, FROM:TO:STEP, instead of streams.', {
      pattern: '^([0-9.]+:[0-9.]+:[0-9.]+)?$',
    }),
    sweep: text('Numbers of streams to measure one after another, N,N,..., instead of streams.', {
      pattern: '^([0-9]+(,[0-9]+)*)?$',
    }),
    intervalMs: whole('Time between two starts of one stream; 0: start when the last one ended.'),
    acquisitionMs: whole('Time over which the pixels of one acquisition are sent; 0: all at once.'),
    durationSeconds: whole('Duration of the load, of each step.', 1, 86400),
    warmUpSeconds: whole('Unmeasured time before it.', 0, 86400),
    windowSeconds: number('Length of a window of the time series; 0: 1, or a 300th of the duration.'),
    stablePercent: number(
      'End a step when the last three windows are within this of their mean; 0: after its duration.',
    ),
    timeoutMs: whole('Timeout of each acquisition.', 1),
    seed: whole('Seed of the image and of the random times.'),
    generators: whole(
      'Number of pods that load the server together; each has its part of the load.',
      1,
      1000,
    ),
    processes: whole('Processes of each generator.', 1, 1024),
    connections: whole('Connections of each process to each server pod.', 1, 10000),
    alignStartSeconds: whole(
      'Several generators start when the time of day is a multiple of this, so that they start together; 0: at once.',
      0,
      3600,
    ),
    slo: list(
      'Service-level objectives; the Job fails if one does not hold. With results.claimName they are those of all generators together.',
      { type: 'string', minLength: 1 },
    ),
    results: group({
      claimName: name(
        'Claim (ReadWriteMany with several generators) that keeps the reports; a second Job adds them. Empty: the reports are in the logs of the pods.',
      ),
      requests: choice(
        'Also write every acquisition into the claim, one file a generator beside its report: csv or jsonl; empty: do not.',
        '',
        'csv',
        'jsonl',
      ),
      waitSeconds: whole('Longest wait of the second Job for the reports.', 1, 86400),
    }),
    ttlSecondsAfterFinished: whole('Time until the finished Jobs and their logs are removed.'),
    resources: group({
      requests: amounts('Resources reserved for a generator, and for the pod of helm test.'),
      limits: amounts('Maximum resources of a generator.'),
    }),
  }),
  test: group({ model: text('Model for helm test.', { minLength: 1 }) }),
  global: shared.ignored,
});
