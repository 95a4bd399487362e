/** Generates docs/reference/metrics.md from the table of metrics. */
export async function metricsPage() {
  const { METRICS } = await import('../../dist/src/telemetry/metrics.js');
  const rows = Object.entries(METRICS).map(([name, { kind, unit, description, attributes }]) => {
    const by = attributes.map((attribute) => `\`${attribute}\``).join(', ') || '–';
    return `| \`${name}\` | ${kind} | ${unit} | ${by} | ${description} |`;
  });
  return `# Metrics

Generated from \`src/telemetry/metrics.ts\` by \`npm run docs\`.

These are the OpenTelemetry names; Prometheus replaces dots by underscores. \`salad.model\` is a name and version such as
\`phantom@1\`. No metric contains the identifier or the pixels of an acquisition. The SDK also reports
\`nodejs.eventloop.delay.p99\` (gauge, s): the delay of the port's thread since the last scrape.

| metric | kind | unit | attributes | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
