// The programs that telemetry is tried with: Prometheus out of Debian's package, an OpenTelemetry collector built
// from the Go module proxy by the collector's own builder. Once, into .cache of the checkout; prints their paths.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debian, root } from '../helm/tools.mjs';

const VERSION = 'v0.165.0';
const home = join(root, '.cache/otelcol');
/** As small as a collector can be: an OTLP receiver, and an exporter that writes down what came. */
const RECIPE = {
  dist: {
    name: 'otelcol',
    output_path: join(home, 'build'),
    module: 'salad/otelcol',
    // Without optimisation it compiles a third faster.
    debug_compilation: true,
  },
  receivers: [{ gomod: `go.opentelemetry.io/collector/receiver/otlpreceiver ${VERSION}` }],
  exporters: [{ gomod: `go.opentelemetry.io/collector/exporter/debugexporter ${VERSION}` }],
};

function collector() {
  const path = join(home, 'build/otelcol');
  const recipe = join(home, 'recipe.json');
  const wanted = JSON.stringify(RECIPE);
  if (existsSync(path) && existsSync(recipe) && readFileSync(recipe, 'utf8') === wanted) return path;
  console.error(`telemetry: building an OpenTelemetry collector ${VERSION}, one to two minutes`);
  mkdirSync(home, { recursive: true });
  // The builder takes YAML, of which JSON is a part.
  const attempt = join(home, 'attempt.json');
  writeFileSync(attempt, wanted);
  const builder = `go.opentelemetry.io/collector/cmd/builder@${VERSION}`;
  execFileSync('go', ['run', builder, '--config', attempt], { cwd: home, stdio: ['ignore', 2, 2] });
  writeFileSync(recipe, wanted);
  return path;
}

const bin = join(debian('prometheus'), 'usr/bin');
console.log(
  JSON.stringify({
    promtool: join(bin, 'promtool'),
    prometheus: join(bin, 'prometheus'),
    collector: collector(),
  }),
);
