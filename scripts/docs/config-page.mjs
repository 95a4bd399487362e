/** docs/reference/config.md from the schema of the configuration. */
export async function configPage() {
  const { CONFIG_FIELDS } = await import('../../dist/src/config/schema.js');
  const rows = Object.entries(CONFIG_FIELDS).map(
    ([key, field]) =>
      `| \`${key}\` | \`${field.env}\` | \`${field.default}\` | ${field.unit} | ${field.allowed} | ${field.description} |`,
  );
  return `# Configuration

Generated from \`src/config/schema.ts\` by \`npm run docs\`.

Precedence, lowest first: defaults, the YAML file of \`--config\`, environment, flags (\`--set KEY=VALUE\` for those without
a flag of their own). An unknown key or a value that is not allowed is an error that names the key, the place (file and
line, variable or flag) and what is allowed. \`salad config print --sources\` shows what a server would start with, and
where each value came from.

Variables that begin with \`SALAD_\` and are no settings are errors too, except those that Kubernetes injects for services
(\`…_SERVICE_HOST\`, \`…_PORT_…\`) and those of clients (\`SALAD_CLIENT_…\`), tests and benchmarks (\`SALAD_TEST_…\`,
\`SALAD_SOAK_…\`, \`SALAD_BENCH_…\`).

| key (YAML, \`--set\`) | variable | default | unit | allowed | what it does |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
