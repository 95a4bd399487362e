// `npm run all -- audit`: known vulnerabilities of what a production install holds, as npm's registry knows them.
// Policy (docs/explanation/security-model.md): high and critical ones fail the build unless ACCEPTED says why they cannot reach
// us and until when; lower ones are printed. Where the registry gives no advisories nothing was audited,
// and the step says so instead of passing in silence; `--report FILE` judges what `npm audit --json` printed
// on a machine whose registry does.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { root } from '../prepare.mjs';

/** @type {Record<string, { why: string, until: string }>} by advisory address, `until` as YYYY-MM-DD */
const ACCEPTED = {};

const FAILING = new Set(['high', 'critical']);

function report() {
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

/** Advisories stand at the packages they were written for; the rest of the tree only names those. */
function advisories(vulnerabilities) {
  return Object.values(vulnerabilities).flatMap(({ via }) =>
    via.filter((cause) => typeof cause === 'object'),
  );
}

function accepted({ url }) {
  const entry = ACCEPTED[url];
  return entry !== undefined && new Date(entry.until) > new Date();
}

const { vulnerabilities, message } = report();
if (vulnerabilities === undefined) {
  console.log(`audit: NOT AUDITED, the registry gives no advisories here: ${message}`);
} else {
  const found = advisories(vulnerabilities);
  for (const advisory of found) {
    const note = accepted(advisory) ? ` (accepted: ${ACCEPTED[advisory.url].why})` : '';
    console.log(
      `audit: ${advisory.severity} ${advisory.name} ${advisory.range}: ${advisory.title} ${advisory.url}${note}`,
    );
  }
  const failing = found.filter((advisory) => FAILING.has(advisory.severity) && !accepted(advisory));
  console.log(`audit: ${found.length} advisories, ${failing.length} of them fail the build`);
  if (failing.length > 0) process.exitCode = 1;
}
