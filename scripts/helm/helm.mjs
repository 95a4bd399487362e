// `node scripts/helm/helm.mjs lint|template ...`: the helm of CI, built where it is missing; arguments as helm's own.
import { spawnSync } from 'node:child_process';
import { KUBE_VERSION, program } from './tools.mjs';

const [verb, ...args] = process.argv.slice(2);
const versioned = verb === 'lint' || verb === 'template' ? KUBE_VERSION : [];
const { status } = spawnSync(program('helm'), [verb ?? 'help', ...versioned, ...args], { stdio: 'inherit' });
process.exitCode = status ?? 1;
