// The CI step `helm`: checks that the generated files are up to date, that every variant of the charts (ci/) passes helm lint and the
// schemas of the Kubernetes API, and that the alert rules pass promtool; then runs test/helm.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kubernetesSchemas } from './kubernetes.mjs';
import { CHARTS, cache, debian, helm, program, root } from './tools.mjs';

const inherit = { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] };
const node = (...args) => execFileSync(process.execPath, args, inherit);

node('scripts/helm/generate.mjs', '--check');

const rendered = join(cache, 'rendered');
mkdirSync(rendered, { recursive: true });
const files = [];
for (const [name, chart] of Object.entries(CHARTS)) {
  const variants = readdirSync(join(chart, 'ci'));
  for (const variant of variants) {
    const values = join(chart, 'ci', variant);
    helm('lint', chart, '--strict', '--values', values);
    const file = join(rendered, `${name}-${variant}`);
    writeFileSync(file, helm('template', 'ci', chart, '--namespace', 'salad', '--values', values));
    files.push(file);
  }
  console.log(`helm: ${name}: ${variants.length} variants lint`);
}
execFileSync(
  program('kubeconform'),
  ['-strict', '-summary', '-schema-location', kubernetesSchemas(), ...files],
  inherit,
);

for (const chart of Object.values(CHARTS)) {
  execFileSync(join(debian('prometheus'), 'usr/bin/promtool'), ['test', 'rules', 'alerts.test.yaml'], {
    ...inherit,
    cwd: join(chart, 'files'),
  });
}

const tests = readdirSync(join(root, 'test/helm')).map((file) => join('test/helm', file));
const { status } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', ...tests], inherit);
process.exitCode = status ?? 1;
