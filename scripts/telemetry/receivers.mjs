// Provides the programs that receive telemetry in tests: Prometheus from the Debian package, and an OpenTelemetry
// collector built by its own builder from the Go module proxy. Kept in .cache; prints their paths as JSON.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debian, root } from '../helm/tools.mjs';

const VERSION = 'v0.165.0';
const home = join(root, '.cache/otelcol');
/** A minimal collector: an OTLP receiver, and an exporter that prints what it received. */
const RECIPE = {
  dist: {
    name: 'otelcol',
    output_path: join(home, 'build'),
    module: 'salad/otelcol',
    // Compiles a third faster, without optimisation.
    debug_compilation: true,
  },
  receivers: [{ gomod: `go.opentelemetry.io/collector/receiver/otlpreceiver ${VERSION}` }],
  exporters: [{ gomod: `go.opentelemetry.io/collector/exporter/debugexporter ${VERSION}` }],
};

function collector() {
  const path = join(home, 'build/otelcol');
  const recipe = join(home, 'recipe.json');
  const required = JSON.stringify(RECIPE);
  if (existsSync(path) && existsSync(recipe) && readFileSync(recipe, 'utf8') === required) return path;
  console.error(`telemetry: building an OpenTelemetry collector ${VERSION} (takes one to two minutes) ...`);
  mkdirSync(home, { recursive: true });
  // The builder reads YAML, and JSON is valid YAML.
  const attempt = join(home, 'attempt.json');
  writeFileSync(attempt, required);
  const builder = `go.opentelemetry.io/collector/cmd/builder@${VERSION}`;
  execFileSync('go', ['run', builder, '--config', attempt], { cwd: home, stdio: ['ignore', 2, 2] });
  writeFileSync(recipe, required);
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
