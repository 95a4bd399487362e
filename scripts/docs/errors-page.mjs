import { status } from '@grpc/grpc-js';

/** Generates docs/reference/errors.md from the error reasons and their map to gRPC statuses. */
export async function errorsPage() {
  const { ERROR_REASONS } = await import('../../dist/src/errors/index.js');
  const { STATUS_OF_KIND } = await import('../../dist/src/wire/status.js');
  const rows = Object.entries(ERROR_REASONS).map(
    ([reason, [kind, sentence]]) => `| \`${reason}\` | \`${status[STATUS_OF_KIND[kind]]}\` | ${sentence} |`,
  );
  return `# Errors

Generated from \`src/errors\` and \`src/wire/status.ts\` by \`npm run docs\`.

Every error status contains \`google.rpc.ErrorInfo\` with the domain \`salad-serve\` and one of these reasons,
\`google.rpc.BadRequest\` if a field is invalid, and \`google.rpc.RetryInfo\` if a retry may succeed.

| reason | gRPC status | meaning |
|---|---|---|
${rows.join('\n')}
`;
}
