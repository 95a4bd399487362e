// The schema of values.yaml of helm/salad-modality, as values.mjs is for helm/salad-serve; `config` comes from
// clients/modality/src/gateway.
import { amounts, choice, DURATION, group, labels, list, name, quantity, text, whole } from './schema.mjs';
import * as shared from './shared-values.mjs';

const FILES = '/etc/salad-modality/files';

/** @param config schema of the group `config` */
export const modalityValues = (config) => ({
  ...shared.names('salad-modality', 51),
  ...shared.image('the appVersion of the chart'),
  config,
  filesSecretName: name(
    `Secret whose keys are files in ${FILES}: tokens, keys, passwords and authorities that config names, such as ${FILES}/pacs.authorization. The gateway reads them when it starts.`,
  ),
  extraEnv: shared.extraEnv('Additional environment variables of the gateway.'),
  extraVolumes: shared.extraVolumes(
    'Additional volumes of the pod, such as the share of a folder of config.watch.',
  ),
  extraVolumeMounts: shared.extraVolumeMounts('Mounts of the additional volumes in the container.'),
  listenHost: shared.listenHost,
  tls: group(
    {
      mode: choice(
        'Source of the certificate: certManager (the chart creates a Certificate), secret (you provide a Secret) or plaintext (no TLS; only on a network that is protected otherwise). There is no default.',
        '',
        'certManager',
        'secret',
        'plaintext',
      ),
      secretName: name('Secret with tls.crt and tls.key. In mode certManager, cert-manager writes it.'),
      clientCaSecretName: name(
        'Secret with ca.crt: callers must present a certificate of these authorities.',
      ),
      issuerRef: shared.issuerRef,
      dnsNames: list('Names in the certificate, in addition to those of the service.', {
        type: 'string',
        minLength: 1,
      }),
      duration: text('Validity of a certificate.', { pattern: DURATION }),
      renewBefore: text('Time before the end of validity at which the certificate is renewed.', {
        pattern: DURATION,
      }),
    },
    'TLS of the DICOM port and the STOW-RS port.',
  ),
  persistence: group(
    {
      existingClaim: name('Claim to use instead of one that the StatefulSet creates.'),
      storageClassName: name(
        'Storage class; empty: the default of the cluster. A local disk or block storage: not NFS, on which SQLite is not safe.',
      ),
      size: quantity(
        'Size of the volume: instances of config.keepDeliveredHours, and of the longest time without server or archive.',
      ),
      accessMode: choice('Access mode of the volume.', 'ReadWriteOnce', 'ReadWriteOncePod'),
      annotations: labels('Annotations of the claim.'),
    },
    'Volume of the inbox. The claim stays when the release is uninstalled; a StatefulSet cannot change its size later.',
  ),
  resources: group({
    requests: amounts('Resources reserved for the pod.'),
    limits: amounts('Maximum resources of the pod.'),
  }),
  drain: group(
    {
      preStopSeconds: whole(
        'Time between the removal of the pod from the endpoints and SIGTERM, so that routes are updated before the port closes.',
        0,
        3600,
      ),
      graceSeconds: whole(
        'Maximum time for transfers under way and for the end of the process. What is not finished then is received, scored or delivered again.',
        40,
        86400,
      ),
    },
    'Shutdown of the pod. terminationGracePeriodSeconds is the sum of the two times.',
  ),
  probes: group(shared.probes),
  ...shared.scheduling,
  service: group({
    type: choice('Type of the Service.', 'ClusterIP', 'NodePort', 'LoadBalancer'),
    dicomPort: whole('Port of the Service for C-STORE.', 1, 65535),
    dicomNodePort: whole('Port of the nodes for C-STORE; 0: Kubernetes chooses one.', 0, 65535),
    stowPort: whole('Port of the Service for STOW-RS.', 1, 65535),
    externalTrafficPolicy: choice(
      'Local keeps the addresses of callers, which config.dicom.callers may demand; Cluster does not. Not for ClusterIP.',
      'Local',
      'Cluster',
    ),
    loadBalancerSourceRanges: list('Networks that the load balancer lets in.', {
      type: 'string',
      minLength: 1,
    }),
    annotations: labels('Annotations of the Service.'),
  }),
  networkPolicy: shared.networkPolicy(
    'Who may send: networks of modalities (ipBlock) or pods, and of archives that report storage commitment; empty: every pod of the namespace.',
    'Destinations that the gateway may connect to: the salad-serve servers and the archives. DNS is always allowed.',
  ),
  telemetry: group(shared.monitoring('docs/how-to/deploy.md')),
  global: shared.ignored,
});
