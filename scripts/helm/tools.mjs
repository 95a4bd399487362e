// Helm, kubeconform and the schemas' sources, from the Go module proxy, once, into .cache/helm of the checkout.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { goProgram } from '../go-program.mjs';
import { root } from '../prepare.mjs';

export { root };
export const cache = join(root, '.cache/helm');
export const chart = join(root, 'helm/salad-serve');

const PROGRAMS = {
  helm: 'helm.sh/helm/v3/cmd/helm@v3.22.0',
  kubeconform: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0',
};
/** Where OpenAPI and custom resource definitions are read from. */
const MODULES = {
  kubernetes: 'k8s.io/kubernetes@v1.37.2',
  certManager: 'github.com/cert-manager/cert-manager@v1.21.2',
  prometheusOperator: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
  keda: 'github.com/kedacore/keda/v2@v2.21.0',
  gatewayApi: 'sigs.k8s.io/gateway-api@v1.4.1',
};

/** Path of a built program. */
export const program = (name) => goProgram(name, PROGRAMS[name], join(cache, 'bin'));

/** Folder with the files of a Debian package: downloaded and unpacked, nothing is installed. */
export function debian(name) {
  const folder = join(cache, name);
  if (existsSync(join(folder, 'usr'))) return folder;
  unpackDebian([name], folder);
  return folder;
}

export const moduleVersion = (name) => MODULES[name].split('@')[1];

/** Folder of a module's sources, in Go's own cache. */
export function module(name) {
  const answer = execFileSync('go', ['mod', 'download', '-json', MODULES[name]], {
    encoding: 'utf8',
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1e7,
  });
  return JSON.parse(answer).Dir;
}

/** Names all that the schemas are made from: where it changes they are made again. */
export const sources = JSON.stringify(MODULES);

/** A helm that was built without release flags takes the cluster for an old one. */
export const KUBE_VERSION = ['--kube-version', '1.37.0'];

/** stdout of `helm lint` or `helm template`; throws with its words where it refuses. */
export function helm(verb, ...args) {
  return execFileSync(program('helm'), [verb, ...KUBE_VERSION, ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 1e8,
    cwd: root,
  });
}
