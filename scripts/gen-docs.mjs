// Prints docs/config.md and docs/errors.md from the code; --check fails where the committed pages differ.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from './prepare.mjs';

install();
build();
const { CONFIG_FIELDS } = await import('../dist/src/config/schema.js');
const { ERROR_REASONS } = await import('../dist/src/errors/index.js');
const { STATUS_OF_KIND } = await import('../dist/src/wire/status.js');
const { status } = await import('@grpc/grpc-js');

const config = `# Configuration

Generated from \`src/config/schema.ts\` by \`npm run docs\`. Precedence, lowest first: defaults, the YAML file of \`--config\`, environment, flags (\`--set KEY=VALUE\` for those without a flag of their own). An unknown key or a value that is not allowed refuses to start and says which, where (file and line, variable or flag) and what is allowed. \`salad config print --sources\` tells what a server would start with and why.

Variables that begin with \`SALAD_\` and are no settings refuse to start too, but for what Kubernetes injects for services (\`…_SERVICE_HOST\`, \`…_PORT_…\`) and what is meant for clients (\`SALAD_CLIENT_…\`), tests and bench (\`SALAD_TEST_…\`, \`SALAD_SOAK_…\`, \`SALAD_BENCH_…\`).

| key (YAML, \`--set\`) | variable | default | unit | allowed | what it does |
|---|---|---|---|---|---|
${Object.entries(CONFIG_FIELDS)
  .map(
    ([key, field]) =>
      `| \`${key}\` | \`${field.env}\` | \`${field.default}\` | ${field.unit} | ${field.allowed} | ${field.description} |`,
  )
  .join('\n')}
`;

const errors = `# Errors

Generated from \`src/errors\` and \`src/wire/status.ts\` by \`npm run docs\`. Every error status carries \`google.rpc.ErrorInfo\` with domain \`salad-serve\` and one of these reasons, \`google.rpc.BadRequest\` where a field is at fault, and \`google.rpc.RetryInfo\` where a retry helps.

| reason | gRPC status | meaning |
|---|---|---|
${Object.entries(ERROR_REASONS)
  .map(
    ([reason, [kind, sentence]]) => `| \`${reason}\` | \`${status[STATUS_OF_KIND[kind]]}\` | ${sentence} |`,
  )
  .join('\n')}
`;

for (const [file, text] of [
  ['docs/config.md', config],
  ['docs/errors.md', errors],
]) {
  const path = join(root, file);
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) {
    console.error(`${file} is not what the code says: run \`npm run docs\` and commit the result.`);
    process.exitCode = 1;
  }
}
