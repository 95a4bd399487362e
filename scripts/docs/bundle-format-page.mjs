import { z } from 'zod';

/** Generates docs/reference/bundle-format.md from the schema of the manifest. */
export async function bundleFormatPage() {
  const { manifestSchema } = await import('../../dist/src/bundle/manifest.js');
  const { nodeSchema } = await import('../../dist/src/network/description.js');
  const rows = [];
  collect(z.toJSONSchema(manifestSchema, { io: 'input' }), '', rows);
  const operations = nodeSchema.options.map((option) =>
    operationRow(z.toJSONSchema(option, { io: 'input' })),
  );
  return `# Bundle format

Generated from \`src/bundle/manifest.ts\` and \`src/network/description.ts\` by \`npm run docs\`.

A bundle is a folder \`NAME/VERSION/\` whose manifest has the same name and version:

| file | content |
|---|---|
| \`manifest.json\` | everything that is not a tensor, and the hashes of the other files |
| \`weights.safetensors\` | the weights of the network by node, float32 or float16 |
| \`memory-bank.safetensors\` | \`prototypes\` [rows, dimension], \`positions\` int32 [rows, 2], \`sources\` int32 [rows] |
| \`golden.safetensors\` | \`pixels\` u8 [n, tileHeight, tileWidth], \`positions\` int32 [n, 2], \`scores\` float32 [n, patches] |
| \`plausibility.safetensors\` | only where the manifest has \`plausibility\`: \`mean\`, \`scale\`, \`mirror\` [F], \`components\` float16 [K, F], \`variances\` [K]; F = regions² · dimension |
| \`MODEL_CARD.md\` | purpose of the model, how it was trained, its limits |

The hash of a bundle is the SHA-256 of \`manifest.json\`. A bundle with a wrong hash, or whose golden scores an engine does
not reproduce, is not served.

## Manifest

| key | type | meaning |
|---|---|---|
${rows.join('\n')}

## Operations of a network

\`network.nodes\` is a list of named nodes in topological order; each reads earlier nodes or \`input\`. Tensors are NHWC float32.

| operation | values |
|---|---|
${operations.join('\n')}
`;
}

/** Adds one row per key; the nodes of the network have a table of their own. */
function collect(schema, prefix, rows) {
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    const path = `${prefix}${key}`;
    const optional = schema.required?.includes(key) ? '' : ', optional';
    rows.push(`| \`${path}\` | ${typeOf(value)}${optional} | ${value.description ?? ''} |`);
    if (path === 'network.nodes') continue;
    for (const inner of value.oneOf ?? value.anyOf ?? [value]) collect(inner, `${path}.`, rows);
    if (value.type === 'array') collect(value.items, `${path}[].`, rows);
  }
}

function typeOf(schema) {
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return [...new Set(choices.map(typeOf))].join(' or ');
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (schema.type === 'array') return `list of ${typeOf(schema.items)}`;
  const { minimum, maximum, exclusiveMinimum } = schema;
  const safe = (value) => (Math.abs(value) === Number.MAX_SAFE_INTEGER ? undefined : value);
  const low = safe(minimum) ?? (exclusiveMinimum === undefined ? undefined : `above ${exclusiveMinimum}`);
  const high = safe(maximum);
  const range = high !== undefined ? ` ${low} to ${high}` : low !== undefined ? ` from ${low}` : '';
  return `${schema.type ?? 'any'}${range.replace('from above', 'above')}`;
}

function operationRow(schema) {
  const { op, name, ...values } = schema.properties;
  const names = op.enum ?? [op.const];
  const keys = Object.entries(values).map(([key, value]) => {
    const defaultText = value.default === undefined ? '' : ` = ${value.default}`;
    return `\`${key}\`${defaultText}`;
  });
  return `| ${names.map((each) => `\`${each}\``).join(', ')} | ${keys.join(', ')} |`;
}
