/** Generates docs/reference/config.md from the schema of the configuration. */
export async function configPage() {
  const { CONFIG_FIELDS } = await import('../../dist/src/config/schema.js');
  const rows = Object.entries(CONFIG_FIELDS).map(
    ([key, field]) =>
      `| \`${key}\` | \`${field.env}\` | \`${field.default}\` | ${field.unit} | ${field.allowed} | ${field.description} |`,
  );
  return `# Configuration

Generated from \`src/config/schema.ts\` by \`npm run docs\`.

Precedence, lowest first: defaults, the YAML file of \`--config\`, environment variables, flags (\`--set KEY=VALUE\` for
settings without a flag of their own). An unknown key or an invalid value is an error that names the key, its source
(file and line, variable or flag) and the allowed values. \`salad config print --sources\` shows the settings that a
server would start with, and the source of each value.

An unknown variable that begins with \`SALAD_\` is an error too, except for those that Kubernetes injects for services
(\`…_SERVICE_HOST\`, \`…_PORT_…\`) and those of clients (\`SALAD_CLIENT_…\`), tests and benchmarks (\`SALAD_TEST_…\`,
\`SALAD_SOAK_…\`, \`SALAD_BENCH_…\`).

| key (YAML, \`--set\`) | variable | default | unit | allowed | meaning |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
