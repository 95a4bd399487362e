// The CI step `helm:api`: installs, upgrades, rolls back and removes every variant of the charts with a real Kubernetes
// API: kube-apiserver from the Go module proxy with etcd of Debian. There are no nodes: this checks what the API accepts,
// including admission by the restricted pod security standard; test/container runs the pods.
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { apiServer } from './api-server.mjs';
import { customDefinitions } from './kubernetes.mjs';
import { CHARTS, debian, program } from './tools.mjs';

// The API server creates a self-signed certificate for loopback when it starts.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.env.NODE_NO_WARNINGS = '1';
const TOKEN = 'only-on-loopback';
/** A changed setting for the upgrade. */
const CHANGES = { 'salad-serve': 'config.maxQueueMs=1234', 'salad-modality': 'config.logLevel=warn' };

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

const folder = mkdtempSync(join(tmpdir(), 'salad-api-'));
const processes = [];
const log = join(folder, 'log');
function start(command, args) {
  const child = spawn('sh', ['-c', `exec "$0" "$@" >> ${log} 2>&1`, command, ...args], { cwd: folder });
  processes.push(child);
  return child;
}

async function call(base, path, method = 'GET', body = undefined, type = 'application/json') {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': type };
  const answer = await fetch(`${base}${path}`, { method, headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text;
}

async function startCluster() {
  const [clients, peers, port] = [await freePort(), await freePort(), await freePort()];
  const store = `http://127.0.0.1:${clients}`;
  start(join(debian('etcd-server'), 'usr/bin/etcd'), [
    ...['--data-dir', join(folder, 'etcd'), '--listen-client-urls', store, '--advertise-client-urls', store],
    ...['--listen-peer-urls', `http://127.0.0.1:${peers}`, '--unsafe-no-fsync'],
  ]);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(join(folder, 'key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
  writeFileSync(join(folder, 'tokens'), `${TOKEN},admin,admin,system:masters\n`);
  const server = start(apiServer(), [
    ...[
      `--etcd-servers=${store}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      '--cert-dir=certificates',
    ],
    ...['--service-account-issuer=https://kubernetes', '--service-account-key-file=key'],
    ...['--service-account-signing-key-file=key', '--token-auth-file=tokens', '--authorization-mode=RBAC'],
    ...['--service-cluster-ip-range=10.96.0.0/16', '--disable-admission-plugins=ServiceAccount'],
  ]);
  const base = `https://127.0.0.1:${port}`;
  while ((await call(base, '/readyz').catch(() => '')) !== 'ok') {
    if (server.exitCode !== null)
      throw new Error(`kube-apiserver ended:\n${readFileSync(log, 'utf8').slice(-3000)}`);
    await new Promise((done) => setTimeout(done, 200));
  }
  return base;
}

async function main() {
  const base = await startCluster();
  for (const file of customDefinitions()) {
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    await call(base, path, 'POST', readFileSync(file, 'utf8'), 'application/yaml');
  }
  // One of the variants uses this runtime class, which a cluster with GPUs has.
  const runtime = { metadata: { name: 'nvidia' }, handler: 'nvidia' };
  await call(base, '/apis/node.k8s.io/v1/runtimeclasses', 'POST', JSON.stringify(runtime));
  // Another uses this priority class.
  const priority = { metadata: { name: 'radiology' }, value: 1000 };
  await call(base, '/apis/scheduling.k8s.io/v1/priorityclasses', 'POST', JSON.stringify(priority));
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: base, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: { token: TOKEN } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(join(folder, 'config'), stringify(config), { mode: 0o600 });
  const helm = (...args) =>
    execFileSync(program('helm'), args, {
      encoding: 'utf8',
      env: { ...process.env, KUBECONFIG: join(folder, 'config') },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  for (const [chartName, chart] of Object.entries(CHARTS)) {
    for (const variant of readdirSync(join(chart, 'ci'))) {
      const name = `${chartName}-${variant.replace('-values.yaml', '')}`;
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
      await call(base, '/api/v1/namespaces', 'POST', JSON.stringify({ metadata: { name, labels } }));
      const values = ['--namespace', name, '--values', join(chart, 'ci', variant)];
      helm('install', 'ci', chart, ...values);
      // A chart may have no hooks, such as `helm test`.
      const parts = ['manifest', 'hooks'].map((part) => helm('get', part, 'ci', '--namespace', name));
      await admitPods(base, name, parts.join('\n---\n'));
      helm('upgrade', 'ci', chart, ...values, '--set', CHANGES[chartName], '--set', 'podLabels.changed=yes');
      helm('rollback', 'ci', '1', '--namespace', name);
      helm('uninstall', 'ci', '--namespace', name);
      console.log(`helm:api: ${name} installed, upgraded, rolled back, removed`);
    }
  }
  // The name of a release may contain dots and begin with a digit; the name of a service may not.
  for (const [chartName, chart] of Object.entries(CHARTS)) {
    const namespace = ['--namespace', `${chartName}-plaintext`];
    helm('install', '2026.site', chart, ...namespace, '--values', join(chart, 'ci/plaintext-values.yaml'));
    helm('uninstall', '2026.site', ...namespace);
    console.log(`helm:api: release 2026.site of ${chartName} installed, removed`);
  }
}

/**
 * Checks with a dry run whether the API would accept the pods of Deployments, StatefulSets and Jobs: without controllers they are not
 * created.
 */
async function admitPods(base, namespace, manifest) {
  let admitted = 0;
  for (const object of parseAllDocuments(manifest).map((each) => each.toJS())) {
    const template = object?.kind === 'Pod' ? object : object?.spec?.template;
    if (!template) continue;
    // The controller of a StatefulSet would add the volumes of its claims.
    const claims = (object.spec.volumeClaimTemplates ?? []).map(({ metadata: { name } }) => ({
      name,
      persistentVolumeClaim: { claimName: name },
    }));
    const spec = { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...claims] };
    const pod = { spec, metadata: { labels: template.metadata.labels, generateName: 'x-' } };
    await call(base, `/api/v1/namespaces/${namespace}/pods?dryRun=All`, 'POST', JSON.stringify(pod));
    admitted += 1;
  }
  if (admitted === 0) throw new Error(`${namespace}: no pods to admit`);
}

try {
  await main();
} finally {
  for (const child of processes.reverse()) {
    child.kill('SIGKILL');
  }
  rmSync(folder, { recursive: true, force: true });
}
