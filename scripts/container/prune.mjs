// `node prune.mjs cpu|gpu NODE_MODULES`: takes out of installed packages what a server on this platform never
// reads: other platforms' binaries, source maps, type declarations, sources of native parts, browser bundles.
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';

const [target, folder] = process.argv.slice(2);
if ((target !== 'cpu' && target !== 'gpu') || folder === undefined) {
  console.error('usage: prune.mjs cpu|gpu NODE_MODULES');
  process.exit(2);
}
const here = `${process.platform}-${process.arch}`;

/** Folders, by what holds one folder a platform: [parent, name of ours]. */
const PLATFORMS = [
  ['onnxruntime-node/bin/napi-v6', process.platform],
  [`onnxruntime-node/bin/napi-v6/${process.platform}`, process.arch],
  ['webgpu/dist', here],
  ['usearch/prebuilds', here],
];
/** Sources of native parts, and what only a browser would load. */
const FOLDERS = [
  ...['c', 'cpp', 'cmake', 'include', 'numkong'].map((name) => `usearch/${name}`),
  ...['binding', 'src', 'scripts'].map((name) => `@tensorflow/tfjs-node-gpu/${name}`),
  ...['src', 'tools'].map((name) => `@tensorflow/tfjs/${name}`),
  // Unpacks what tfjs-node-gpu downloads while the image is built; this version has known faults.
  'tar',
];
const FILES = [
  /\.map$/,
  /\.d\.[cm]?ts$/,
  // tfjs ships each package eight times; Node reads the one that "main" names. The tfjs-node of the GPU image
  // reaches into folders of the others, so there only the bundles for browsers go.
  target === 'cpu'
    ? /^@tensorflow\/tfjs[^/]*\/dist\/(?!.*(\.node\.js|\.wasm|package\.json)$)/
    : /^@tensorflow\/tfjs[^/]*\/dist\/tf[^/]*(\.fesm|\.es2017|\.min)[^/]*\.js$/,
];

const drop = (path) => rmSync(join(folder, path), { recursive: true, force: true });

const before = size(folder);
for (const [parent, ours] of PLATFORMS) {
  for (const name of list(parent))
    if (name !== ours && isFolder(join(parent, name))) drop(join(parent, name));
}
for (const path of FOLDERS) drop(path);
// npm installs sharp for both C libraries.
const otherLibc = isMusl() ? /^sharp-(libvips-)?linux-/ : /^sharp-(libvips-)?linuxmusl-/;
for (const name of list('@img')) if (otherLibc.test(name)) drop(join('@img', name));
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = relative(folder, join(entry.parentPath, entry.name));
  if (FILES.some((pattern) => pattern.test(path))) drop(path);
}
for (const scope of list('.').filter((name) => name.startsWith('@') && list(name).length === 0)) drop(scope);
console.log(`prune ${target}: ${(before / 1e6).toFixed(0)} MB to ${(size(folder) / 1e6).toFixed(0)} MB`);

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
