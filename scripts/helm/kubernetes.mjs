// JSON schemas of Kubernetes objects that refuse unknown fields, made from the OpenAPI document of Kubernetes and from
// the custom resource definitions of the operators that the chart supports.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { cache, module, sources } from './tools.mjs';

const folder = join(cache, 'schemas');
/** File pattern for kubeconform; the suffix of v1 of the group apps is "-apps-v1", of v1 of the core group "-v1". */
export const SCHEMA_LOCATION = join(folder, '{{.ResourceKind}}{{.KindSuffix}}.json');

const INT_OR_STRING = { anyOf: [{ type: 'integer' }, { type: 'string' }] };
const QUANTITY = {
  anyOf: [{ type: 'number' }, { type: 'string', pattern: '^[0-9.]+([eE][0-9]+|[a-zA-Z]+)?$' }],
};

let document;
function definitions() {
  document ??= JSON.parse(readFileSync(join(module('kubernetes'), 'api/openapi-spec/swagger.json'), 'utf8'));
  return document.definitions;
}

/** Collects the named definition and all definitions that it refers to, with references rewritten to `#/prefix/...`. */
export function closedDefinition(name, prefix = 'definitions', into = {}) {
  if (name in into) return into;
  into[name] = true;
  const visit = (reference) => {
    closedDefinition(reference, prefix, into);
    return { $ref: `#/${prefix}/${reference}` };
  };
  const definition = definitions()[name];
  if (name.endsWith('.resource.Quantity')) into[name] = QUANTITY;
  else if (name.endsWith('.intstr.IntOrString')) into[name] = INT_OR_STRING;
  else into[name] = close(definition, visit);
  return into;
}

/** Copies a schema so that objects with named properties allow no others; omits descriptions. */
function close(schema, visit) {
  if (schema.$ref) return visit(schema.$ref.replace('#/definitions/', ''));
  if (schema['x-kubernetes-int-or-string']) return INT_OR_STRING;
  const closed = {};
  for (const key of [
    'type',
    'enum',
    'required',
    'pattern',
    'minimum',
    'maximum',
    'minItems',
    'maxItems',
    'minLength',
    'maxLength',
  ]) {
    if (schema[key] !== undefined) closed[key] = schema[key];
  }
  if (schema.items) closed.items = close(schema.items, visit);
  if (typeof schema.additionalProperties === 'object') {
    closed.additionalProperties = close(schema.additionalProperties, visit);
  }
  if (schema.properties) {
    closed.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, each]) => [name, close(each, visit)]),
    );
    if (closed.additionalProperties === undefined && !schema['x-kubernetes-preserve-unknown-fields']) {
      closed.additionalProperties = false;
    }
  }
  return closed;
}

function writeSchema(kind, group, version, schema) {
  const suffix = group === '' ? `-${version}` : `-${group.split('.')[0]}-${version}`;
  writeFileSync(join(folder, `${kind.toLowerCase()}${suffix}.json`), JSON.stringify(schema));
}

function writeBuiltIn() {
  for (const [name, definition] of Object.entries(definitions())) {
    for (const { group, version, kind } of definition['x-kubernetes-group-version-kind'] ?? []) {
      if (!/^(|apps|batch|autoscaling|policy|networking\.k8s\.io)$/.test(group) || !/^v\d$/.test(version))
        continue;
      if (!definition.properties?.metadata) continue;
      writeSchema(kind, group, version, {
        $ref: `#/definitions/${name}`,
        definitions: closedDefinition(name),
      });
    }
  }
}

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

function writeCustom(files) {
  const shared = closedDefinition(META);
  for (const file of files) {
    for (const { spec } of parseAllDocuments(readFileSync(file, 'utf8')).map((each) => each.toJS() ?? {})) {
      for (const { name, schema } of spec?.versions ?? []) {
        const closed = close(schema.openAPIV3Schema, (reference) => ({ $ref: reference }));
        closed.properties.metadata = { $ref: `#/definitions/${META}` };
        writeSchema(spec.names.kind, spec.group, name, { ...closed, definitions: shared });
      }
    }
  }
}

const yamlIn = (path, pattern) =>
  readdirSync(path)
    .filter((name) => pattern.test(name))
    .map((name) => join(path, name));

/** Files of the custom resource definitions of helm/kserve. */
function kserveDefinitions() {
  return yamlIn(join(module('kserve'), 'config/crd/full'), /_(servingruntimes|inferenceservices)\.yaml$/);
}

/** Files of the custom resource definitions that the chart uses if their operators are enabled. */
export function customDefinitions() {
  return [
    ...yamlIn(join(module('certManager'), 'deploy/crds'), /_certificates\.yaml$/),
    ...yamlIn(
      join(module('prometheusOperator'), 'example/prometheus-operator-crd'),
      /(servicemonitors|podmonitors|prometheusrules)\.yaml$/,
    ),
    ...yamlIn(join(module('keda'), 'config/crd/bases'), /scaledobjects\.yaml$/),
    ...yamlIn(join(module('gatewayApi'), 'config/crd/standard'), /grpcroutes\.yaml$/),
  ];
}

/** Creates the schemas if they are missing or outdated. @returns the file pattern for kubeconform */
export function kubernetesSchemas() {
  const stamp = join(folder, 'sources.json');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === sources) return SCHEMA_LOCATION;
  console.error(
    'helm: creating schemas from the OpenAPI document of Kubernetes and the custom resource definitions',
  );
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeBuiltIn();
  writeCustom([...customDefinitions(), ...kserveDefinitions()]);
  writeFileSync(stamp, sources);
  return SCHEMA_LOCATION;
}
