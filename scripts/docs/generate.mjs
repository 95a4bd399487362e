// Writes the generated pages of docs/reference and the table of folders in docs/explanation/architecture.md; --check
// fails if the committed pages differ.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from '../prepare.mjs';
import { bundleFormatPage } from './bundle-format-page.mjs';
import { cliPage } from './cli-page.mjs';
import { configPage } from './config-page.mjs';
import { errorsPage } from './errors-page.mjs';
import { withFoldersTable } from './folders-table.mjs';
import { gatewayPage } from './gateway-page.mjs';
import { gatewayMetricsPage, metricsPage } from './metrics-page.mjs';
import { inferencePage, protoPage } from './proto-page.mjs';

install();
build();

const read = (file) => readFileSync(join(root, file), 'utf8');
const architecture = 'docs/explanation/architecture.md';
const pages = {
  'docs/reference/config.md': await configPage(),
  'docs/reference/errors.md': await errorsPage(),
  'docs/reference/cli.md': await cliPage(),
  'docs/reference/gateway.md': await gatewayPage(),
  'docs/reference/metrics.md': await metricsPage(),
  'docs/reference/gateway-metrics.md': await gatewayMetricsPage(),
  'docs/reference/bundle-format.md': await bundleFormatPage(),
  'docs/reference/proto.md': protoPage(),
  'docs/reference/inference-proto.md': inferencePage(),
  [architecture]: withFoldersTable(read(architecture), JSON.parse(read('test/folders.json'))),
};

for (const [file, text] of Object.entries(pages)) {
  const path = join(root, file);
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (read(file) !== text) {
    console.error(`${file} differs from the code: run \`npm run docs\` and commit the result.`);
    process.exitCode = 1;
  }
}
