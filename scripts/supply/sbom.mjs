// `npm run sbom [-- FILE]`: writes a CycloneDX 1.5 software bill of materials with the packages of a production install
// (from package-lock.json), the shipped model bundles, and the optional components of other engines: OpenVINO in the
// images, the WebGPU packages in the GPU image, TensorFlow on request. `npm run all -- sbom` also validates the file
// against the schema of CycloneDX with the library of CycloneDX (from PyPI, kept under .cache/sbom).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OPENVINO_VERSION } from '../engines/openvino-version.mjs';
import { root } from '../prepare.mjs';
import { pythonEnvironment } from '../python-environment.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** A bundle is identified by the hash of its manifest, which contains the hashes of its other files. */
function modelComponent(directory) {
  const bytes = readFileSync(join(directory, 'manifest.json'));
  const { name, version, description } = JSON.parse(bytes.toString('utf8'));
  return {
    'bom-ref': `model/${name}@${version}`,
    type: 'machine-learning-model',
    name,
    version: String(version),
    description,
    hashes: [{ alg: 'SHA-256', content: createHash('sha256').update(bytes).digest('hex') }],
    properties: [{ name: 'path', value: relative(root, directory) }],
  };
}

function modelComponents() {
  const models = join(root, 'models');
  return readdirSync(models)
    .sort()
    .flatMap((name) =>
      readdirSync(join(models, name)).map((version) => modelComponent(join(models, name, version))),
    );
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Components that a plain installation does not have: installed by `npm run engines:...` or by the user. */
function optionalComponents() {
  const component = (kind, name, version, license) => ({
    'bom-ref': `${name}@${version}`,
    type: 'library',
    name,
    version,
    scope: 'optional',
    purl: `pkg:${kind}/${name.replace('@', '%40')}@${version}`,
    licenses: [{ license: { id: license } }],
  });
  const licenses = { webgpu: 'MIT' };
  return [
    component('pypi', 'openvino', OPENVINO_VERSION, 'Apache-2.0'),
    ...Object.entries(manifest.peerDependencies).map(([name, range]) =>
      component('npm', name, range.replace('^', ''), licenses[name] ?? 'Apache-2.0'),
    ),
  ];
}

/** NAME@VERSION of every package that a production install may contain, on any platform. */
function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return new Set(
    Object.entries(packages)
      .filter(([path, { dev }]) => path !== '' && !dev)
      .map(([path, { name, version }]) => `${name ?? path.split('node_modules/').pop()}@${version}`),
  );
}

/**
 * The bill of materials of the packages, from npm. Development packages are filtered out here, because `npm sbom --omit
 * dev` would also omit packages that production and development packages share.
 */
function createPackageBill() {
  const args = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
  const sbom = JSON.parse(
    execFileSync('npm', args, {
      cwd: root,
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'ignore'],
      shell: process.platform === 'win32',
    }).toString('utf8'),
  );
  const missing = productionPackages();
  const main = sbom.metadata.component['bom-ref'];
  sbom.components = sbom.components.filter(({ name, version }) => missing.delete(`${name}@${version}`));
  if (missing.size > 0) throw new Error(`the output of npm sbom lacks ${[...missing].join(', ')}`);
  const kept = new Set([main, ...sbom.components.map((component) => component['bom-ref'])]);
  sbom.dependencies = sbom.dependencies
    .filter(({ ref }) => kept.has(ref))
    .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((other) => kept.has(other)) }));
  return sbom;
}

function createBill() {
  const sbom = createPackageBill();
  // npm uses the name of the folder instead of the name of the package.
  sbom.metadata.component.name = manifest.name;
  sbom.metadata.component.type = 'application';
  const others = [...modelComponents(), ...optionalComponents()];
  sbom.components.push(...others);
  sbom.dependencies.push(...others.map((other) => ({ ref: other['bom-ref'], dependsOn: [] })));
  return sbom;
}

const [flag, ...rest] = process.argv.slice(2);
const check = flag === '--check';
const file = resolve((check ? rest[0] : flag) ?? join(root, 'out/sbom.cdx.json'));
const sbom = createBill();
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify(sbom, null, 1)}\n`);
console.log(`sbom: ${sbom.components.length} components in ${relative(process.cwd(), file)}`);
if (check) {
  const python = pythonEnvironment('sbom', join(here, 'requirements.txt'));
  execFileSync(python, [join(here, 'check_sbom.py'), file], { stdio: ['ignore', 'inherit', 'inherit'] });
}
