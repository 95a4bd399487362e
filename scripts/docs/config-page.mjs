/** Pages that explain the settings of a section and the reasons for their defaults, by the title of the section. */
const EXPLANATIONS = {
  Models: ['bundles', 'search'],
  Engine: ['engines', 'failover'],
  Batching: ['batching'],
  Admission: ['batching', 'memory'],
  Quotas: ['memory'],
  Connections: ['memory'],
  Security: ['security-model'],
};

/** Generates docs/reference/config.md from the schema of the configuration. */
export async function configPage() {
  const { CONFIG_SECTIONS } = await import('../../dist/src/config/schema.js');
  return `# Configuration

Generated from \`src/config/sections/\` by \`npm run docs\`.

Precedence, lowest first: defaults, the YAML file of \`--config\`, environment variables, flags (\`--set KEY=VALUE\` for
settings without a flag of their own). An unknown key or an invalid value is an error that names the key, its source
(file and line, variable or flag) and the allowed values. \`salad config print --sources\` shows the settings that a
server would start with, and the source of each value.

An unknown variable that begins with \`SALAD_\` is an error too, except for those that Kubernetes injects for services
(\`…_SERVICE_HOST\`, \`…_PORT_…\`) and those of clients (\`SALAD_CLIENT_…\`), tests and benchmarks (\`SALAD_TEST_…\`,
\`SALAD_SOAK_…\`, \`SALAD_BENCH_…\`).

The sections group the settings on this page and in the code; the keys in the file have no section in front of them.

${CONFIG_SECTIONS.map(sectionText).join('\n')}`;
}

function sectionText({ title, description, fields }) {
  const rows = Object.entries(fields).map(
    ([key, field]) =>
      `| \`${key}\` | \`${field.env}\` | \`${field.default}\` | ${field.unit} | ${field.allowed} | ${field.description} |`,
  );
  const pages = (EXPLANATIONS[title] ?? []).map((page) => `[${page}](../explanation/${page}.md)`);
  const explained = pages.length === 0 ? '' : ` Explained in ${pages.join(' and ')}.`;
  return `## ${title}

${description}${explained}

| key (YAML, \`--set\`) | variable | default | unit | allowed | meaning |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
