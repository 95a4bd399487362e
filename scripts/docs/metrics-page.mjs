/** docs/reference/metrics.md from the table of metrics. */
export async function metricsPage() {
  const { METRICS } = await import('../../dist/src/telemetry/metrics.js');
  const rows = Object.entries(METRICS).map(([name, { kind, unit, description, attributes }]) => {
    const by = attributes.map((attribute) => `\`${attribute}\``).join(', ') || '–';
    return `| \`${name}\` | ${kind} | ${unit} | ${by} | ${description} |`;
  });
  return `# Metrics

Generated from \`src/telemetry/metrics.ts\` by \`npm run docs\`.

Names are those of OpenTelemetry; Prometheus shows dots as underscores. \`salad.model\` is a name and version such as
\`phantom@1\`. No metric carries an acquisition's identifier or pixels. Besides these the SDK reports
\`nodejs.eventloop.delay.p99\` (gauge, s): how late the port's thread was since the last scrape.

| metric | kind | unit | by | what it is |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
