/** Generates docs/reference/metrics.md from the table of metrics. */
export async function metricsPage() {
  const { METRICS } = await import('../../dist/src/telemetry/metrics.js');
  return `# Metrics

Generated from \`src/telemetry/metrics.ts\` by \`npm run docs\`.

These are the OpenTelemetry names; Prometheus replaces dots by underscores. \`salad.model\` is a name and version such as
\`phantom@1\`. No metric contains the identifier or the pixels of an acquisition. The SDK also reports
\`nodejs.eventloop.delay.p99\` (gauge, s): the delay of the port's thread since the last scrape.

${tableOf(METRICS)}`;
}

/** Generates docs/reference/gateway-metrics.md from the table of the gateway's metrics. */
export async function gatewayMetricsPage() {
  const { GATEWAY_METRICS } = await import('../../dist/clients/modality/src/operations/metrics.js');
  return `# Metrics of the gateway

Generated from \`clients/modality/src/operations/metrics.ts\` by \`npm run docs\`.

\`salad-modality serve\` gives them at \`/metrics\` of the port of operations (section \`operations\` of
docs/reference/gateway.md); it sends metrics by OTLP only where that port is off and the standard variables name an
endpoint. These are the OpenTelemetry names; Prometheus replaces dots by underscores and adds \`_total\` to counters,
such as \`salad_modality_received_total{salad_input="dicom"}\`. No metric contains a UID, a value
of a data set, or a title or address of a peer; \`salad.destination\` is a name of the settings. Gauges are read from
the inbox, so they are right after a restart; counters begin with 0. The SDK also reports
\`nodejs.eventloop.delay.p99\` (gauge, s).

${tableOf(GATEWAY_METRICS)}`;
}

function tableOf(metrics) {
  const rows = Object.entries(metrics).map(([name, { kind, unit, description, attributes }]) => {
    const by = attributes.map((attribute) => `\`${attribute}\``).join(', ') || '–';
    return `| \`${name}\` | ${kind} | ${unit} | ${by} | ${description} |`;
  });
  return `| metric | kind | unit | attributes | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
