// Builders of the JSON schema of values.yaml, with one description per key.
export const text = (description, more = {}) => ({ type: 'string', description, ...more });
export const flag = (description) => ({ type: 'boolean', description });
export const whole = (description, minimum = 0, maximum = 2 ** 31 - 1) => ({
  type: 'integer',
  minimum,
  maximum,
  description,
});
export const number = (description, minimum = 0) => ({ type: 'number', minimum, description });
export const choice = (description, ...values) => ({ enum: values, description });
export const list = (description, items, more = {}) => ({ type: 'array', items, description, ...more });
export const group = (properties, description) => ({
  type: 'object',
  ...(description ? { description } : {}),
  additionalProperties: false,
  properties,
});
export const kubernetes = (name, description) => ({ $ref: `#/$defs/${name}`, description });

export const CORE = 'io.k8s.api.core.v1';
export const quantity = (description) =>
  kubernetes('io.k8s.apimachinery.pkg.api.resource.Quantity', description);
/** Labels and annotations have arbitrary keys, so that only their form can be checked: [prefix/]name. */
export const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
export const labels = (description) => ({
  type: 'object',
  description,
  propertyNames: { pattern: LABEL_KEY },
  additionalProperties: { type: 'string' },
});
/** Labels whose values also have the form of label values. */
export const labelValues = (description) => ({
  ...labels(description),
  additionalProperties: {
    type: 'string',
    pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
  },
});
const NAME = '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$';
export const name = (description) => text(description, { pattern: NAME });
/** 0 % to 100 %. */
export const PERCENT = '^(100|[0-9]{1,2})%$';
export const DURATION = '^([0-9]+(h|m|s|ms))+$';
/** Resources of a container. Names of device resources contain a domain, so that a misspelt "memmory" is refused. */
export const amounts = (description) => ({
  type: 'object',
  description,
  additionalProperties: false,
  properties: {
    cpu: quantity('Number of cores.'),
    memory: quantity('Memory in bytes.'),
    'ephemeral-storage': quantity('Disk in bytes.'),
  },
  patternProperties: { '^([a-z0-9.-]+/.+|hugepages-.+)$': quantity('Devices and huge pages.') },
});
/** Kinds of volumes that the restricted pod security standard allows: name in a Volume and its definition. */
export const VOLUMES = {
  configMap: 'ConfigMapVolumeSource',
  csi: 'CSIVolumeSource',
  emptyDir: 'EmptyDirVolumeSource',
  persistentVolumeClaim: 'PersistentVolumeClaimVolumeSource',
  projected: 'ProjectedVolumeSource',
  secret: 'SecretVolumeSource',
};
export const PEER = 'io.k8s.api.networking.v1.NetworkPolicyPeer';

/** Names of the Kubernetes definitions that the values use, as in its OpenAPI document. */
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
