// `node scripts/helm/helm.mjs lint|template ...`: runs the helm of CI with the given arguments; builds it if missing.
import { spawnSync } from 'node:child_process';
import { KUBE_VERSION, program } from './tools.mjs';

const [verb, ...args] = process.argv.slice(2);
const versioned = verb === 'lint' || verb === 'template' ? KUBE_VERSION : [];
const { status } = spawnSync(program('helm'), [verb ?? 'help', ...versioned, ...args], { stdio: 'inherit' });
process.exitCode = status ?? 1;
