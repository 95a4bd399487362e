// `npm run all -- audit`: checks the packages of a production install for vulnerabilities known to the npm registry.
// Policy (docs/explanation/security-model.md): advisories of severity high and critical fail the build, unless ACCEPTED
// has the reason why they do not affect this project and an end date; others are only printed. If the registry offers no
// advisories, the script prints that nothing was audited. `--report FILE` evaluates the output of `npm audit --json` from
// a machine whose registry offers them.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { root } from '../prepare.mjs';

/** @type {Record<string, { reason: string, until: string }>} by advisory address, `until` as YYYY-MM-DD */
const ACCEPTED = {};

const FAILING = new Set(['high', 'critical']);

/** The report of npm, or of the file of `--report`. */
function readReport() {
  const [flag, file] = process.argv.slice(2);
  if (flag === '--report') return JSON.parse(readFileSync(file, 'utf8'));
  const args = ['audit', '--omit', 'dev', '--json'];
  const { stdout } = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    shell: process.platform === 'win32',
  });
  try {
    return JSON.parse(stdout);
  } catch {
    return { message: 'npm audit printed no JSON' };
  }
}

/** Extracts the advisories. Packages that only depend on an affected package have its name instead of an advisory. */
function advisories(vulnerabilities) {
  return Object.values(vulnerabilities).flatMap(({ via }) =>
    via.filter((cause) => typeof cause === 'object'),
  );
}

function isAccepted({ url }) {
  const entry = ACCEPTED[url];
  return entry !== undefined && new Date(entry.until) > new Date();
}

const { vulnerabilities, message } = readReport();
if (vulnerabilities === undefined) {
  console.log(`audit: NOT AUDITED, the npm registry offers no advisories: ${message}`);
} else {
  const found = advisories(vulnerabilities);
  for (const advisory of found) {
    const note = isAccepted(advisory) ? ` (accepted: ${ACCEPTED[advisory.url].reason})` : '';
    console.log(
      `audit: ${advisory.severity} ${advisory.name} ${advisory.range}: ${advisory.title} ${advisory.url}${note}`,
    );
  }
  const failing = found.filter((advisory) => FAILING.has(advisory.severity) && !isAccepted(advisory));
  console.log(`audit: ${found.length} advisories, ${failing.length} of them fail the build`);
  if (failing.length > 0) process.exitCode = 1;
}
