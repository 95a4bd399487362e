// Provides helm, kubeconform and the sources of the schemas from the Go module proxy, kept in .cache/helm.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { goProgram } from '../go-program.mjs';
import { root } from '../prepare.mjs';

export { root };
export const cache = join(root, '.cache/helm');
/** Folders of the charts by name. */
export const CHARTS = {
  'salad-serve': join(root, 'helm/salad-serve'),
  'salad-modality': join(root, 'helm/salad-modality'),
};

const PROGRAMS = {
  helm: 'helm.sh/helm/v3/cmd/helm@v3.22.0',
  kubeconform: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0',
};
/** Go modules with the OpenAPI document and the custom resource definitions. */
const MODULES = {
  kubernetes: 'k8s.io/kubernetes@v1.37.2',
  certManager: 'github.com/cert-manager/cert-manager@v1.21.2',
  prometheusOperator: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
  keda: 'github.com/kedacore/keda/v2@v2.21.0',
  gatewayApi: 'sigs.k8s.io/gateway-api@v1.4.1',
};

/** Path of a built program. */
export const program = (name) => goProgram(name, PROGRAMS[name], join(cache, 'bin'));

/** Downloads and unpacks a Debian package without installing it. @returns the folder with its files */
export function debian(name) {
  const folder = join(cache, name);
  if (existsSync(join(folder, 'usr'))) return folder;
  unpackDebian([name], folder);
  return folder;
}

export const moduleVersion = (name) => MODULES[name].split('@')[1];

/** Downloads a Go module. @returns the folder of its sources in the module cache of Go */
export function module(name) {
  const answer = execFileSync('go', ['mod', 'download', '-json', MODULES[name]], {
    encoding: 'utf8',
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1e7,
  });
  return JSON.parse(answer).Dir;
}

/** The sources of the schemas, which are created again if it changes. */
export const sources = JSON.stringify(MODULES);

/** Version of Kubernetes to render for: helm built without its release flags assumes an old version. */
export const KUBE_VERSION = ['--kube-version', '1.37.0'];

/** Runs `helm lint` or `helm template`. @returns stdout. @throws with the output of helm if it fails */
export function helm(verb, ...args) {
  return execFileSync(program('helm'), [verb, ...KUBE_VERSION, ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 1e8,
    cwd: root,
  });
}
