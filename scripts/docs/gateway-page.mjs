/** Generates docs/reference/gateway.md from the schema of the gateway's settings. */
export async function gatewayPage() {
  const { settingsSchema } = await import('../../dist/clients/modality/src/gateway/settings.js');
  const { z } = await import('zod');
  const { properties, required } = z.toJSONSchema(settingsSchema, { io: 'input' });
  const { dicom, stow, watch, server, destinations, operations, ...plain } = properties;
  const sections = [
    section('Gateway', 'Keys without a section.', { properties: plain, required }),
    section('dicom', dicom.description, dicom),
    section('dicom.callers', dicom.properties.callers.description, dicom.properties.callers.items),
    section('stow', stow.description, stow),
    section('watch', watch.description, watch.items),
    section('server', server.description, server),
    section('destinations', destinations.description, destinations.items),
    section('operations', operations.description, operations),
  ];
  return `# Settings of the gateway

Generated from \`clients/modality/src/gateway/sections.ts\` by \`npm run docs\`. The file of \`salad-modality serve --config\`
is YAML; paths are relative to the file. At least one of \`dicom\`, \`stow\` and \`watch\` is needed. An unknown key or an
invalid value is an error that names it.

${sections.join('\n')}`;
}

function section(title, description, { properties, required = [] }) {
  const rows = Object.entries(properties).map(([key, field]) => {
    const byDefault = required.includes(key) ? 'required' : code(field.default);
    return `| \`${key}\` | ${byDefault} | ${allowed(field)} | ${field.description} |`;
  });
  return `## ${title}

${description}

| key | default | allowed | meaning |
|---|---|---|---|
${rows.join('\n')}
`;
}

function code(value) {
  return value === undefined ? '' : `\`${JSON.stringify(value).replaceAll('"', '')}\``;
}

function allowed({ type, enum: names, minimum, maximum, anyOf, items }) {
  if (names) return names.map((name) => `\`${name}\``).join(', ');
  if (type === 'integer') return `${minimum} to ${maximum}`;
  if (type === 'number') return 'above 0, below 1';
  if (type === 'array') return items.type === 'object' ? 'list of sections' : 'list of texts';
  return type === 'boolean' ? '`true`, `false`' : anyOf ? 'IP address' : 'text';
}
