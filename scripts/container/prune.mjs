// `node prune.mjs cpu|gpu NODE_MODULES`: removes files that a server on this platform never reads: binaries of other
// platforms, source maps, type declarations, sources of native addons, browser bundles.
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';

const [target, folder] = process.argv.slice(2);
if ((target !== 'cpu' && target !== 'gpu') || folder === undefined) {
  console.error('usage: prune.mjs cpu|gpu NODE_MODULES');
  process.exit(2);
}
const platform = `${process.platform}-${process.arch}`;

/** Folders with one sub-folder per platform: [parent, name of this platform]. */
const PLATFORM_FOLDERS = [
  ['onnxruntime-node/bin/napi-v6', process.platform],
  [`onnxruntime-node/bin/napi-v6/${process.platform}`, process.arch],
  ['webgpu/dist', platform],
  ['usearch/prebuilds', platform],
];
/** Sources of native addons, and files that only a browser loads. */
const FOLDERS = [
  ...['c', 'cpp', 'cmake', 'include', 'numkong'].map((name) => `usearch/${name}`),
  ...['binding', 'src', 'scripts'].map((name) => `@tensorflow/tfjs-node-gpu/${name}`),
  ...['src', 'tools'].map((name) => `@tensorflow/tfjs/${name}`),
  // Only used to generate the dictionary of dcmjs.
  'dcmjs/generate',
  // Used only to unpack the download of tfjs-node-gpu while the image is built; this version has known vulnerabilities.
  'tar',
];
const FILES = [
  /\.map$/,
  /\.d\.[cm]?ts$/,
  // Node loads dcmjs.js, and of CharLS the decoder as WebAssembly.
  /^dcmjs\/build\/dcmjs\.(es|min)\.js$/,
  /^@cornerstonejs\/codec-charls\/dist\/(?!charlswasm_decode\.)/,
  // tfjs ships each package in eight builds; Node loads the one that "main" names. tfjs-node in the GPU image also loads
  // files from folders of the other builds, so that only the browser bundles are removed there.
  target === 'cpu'
    ? /^@tensorflow\/tfjs[^/]*\/dist\/(?!.*(\.node\.js|\.wasm|package\.json)$)/
    : /^@tensorflow\/tfjs[^/]*\/dist\/tf[^/]*(\.fesm|\.es2017|\.min)[^/]*\.js$/,
];

const remove = (path) => rmSync(join(folder, path), { recursive: true, force: true });

const bytesBefore = size(folder);
for (const [parent, current] of PLATFORM_FOLDERS) {
  for (const name of list(parent))
    if (name !== current && isFolder(join(parent, name))) remove(join(parent, name));
}
for (const path of FOLDERS) remove(path);
// npm installs sharp and libsql for both C libraries, glibc and musl.
const otherLibc = isMusl() ? /^sharp-(libvips-)?linux-/ : /^sharp-(libvips-)?linuxmusl-/;
for (const name of list('@img')) if (otherLibc.test(name)) remove(join('@img', name));
for (const name of list('@libsql'))
  if ((isMusl() ? /-gnu/ : /-musl/).test(name)) remove(join('@libsql', name));
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = relative(folder, join(entry.parentPath, entry.name));
  if (FILES.some((pattern) => pattern.test(path))) remove(path);
}
for (const scope of list('.').filter((name) => name.startsWith('@') && list(name).length === 0))
  remove(scope);
console.log(`prune ${target}: ${(bytesBefore / 1e6).toFixed(0)} MB to ${(size(folder) / 1e6).toFixed(0)} MB`);

function isMusl() {
  return process.report.getReport().header.glibcVersionRuntime === undefined;
}

function list(path) {
  try {
    return readdirSync(join(folder, path));
  } catch {
    return [];
  }
}

function isFolder(path) {
  return lstatSync(join(folder, path)).isDirectory();
}

function size(path) {
  const status = lstatSync(path);
  if (!status.isDirectory()) return status.size;
  return readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 0);
}
