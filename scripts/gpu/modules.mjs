// The files of the program for the GPU run: what its entries import, found by esbuild, and what they open at run time.
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build as bundle } from 'esbuild';
import { root } from '../root.mjs';

/** Files that start a process or a worker thread: no import names them. */
function entries() {
  const built = (folder, pattern) =>
    readdirSync(join(root, folder))
      .filter((name) => pattern.test(name))
      .map((name) => join(folder, name));
  return [
    'dist/src/main.js',
    // The processes of a server, and those of the load generator.
    'dist/src/server/processes/entry.js',
    'dist/clients/load/src/process.js',
    ...built('dist/bench/gpu', /\.js$/),
    ...built('dist/bench/engines', /^runner-.*\.js$/),
    ...built('dist/workers', /\.js$/),
    'node_modules/piscina/dist/worker.js',
    'node_modules/thread-stream/lib/worker.js',
    'node_modules/pino/lib/worker.js',
    // The engine webgpu finds these two by name at run time.
    'node_modules/webgpu/index.js',
    'node_modules/@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.node.js',
  ];
}

/** Native libraries, WebAssembly and protocol definitions, which are opened by path. `onnx` is a part of its own: it is the largest. */
export const ONNX_LIBRARIES = 'node_modules/onnxruntime-node/bin/napi-v6/linux/x64';
const OPENED = [
  'node_modules/webgpu/dist/linux-x64',
  'node_modules/@img/sharp-linux-x64',
  'node_modules/@img/sharp-libvips-linux-x64',
  'node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm',
  'node_modules/grpc-health-check/proto',
  'node_modules/@grpc/reflection/build/proto',
];
/** The root of the package, as src/util/package-root.ts finds it, and what the server reads from it. */
const OWN = ['package.json', 'LICENSE', 'proto'];

/** Copies the program into `folder`, without the libraries of onnxruntime and without bundles. */
export async function copyProgram(folder) {
  const copy = (path) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      filter: (file) => !/\.(d\.ts|map)$/.test(file),
    });
  };
  const files = await importedFiles();
  for (const path of [...files, ...packageFiles(files), ...OPENED, ...OWN]) copy(path);
}

/** Everything that the entries import, relative to the root. */
async function importedFiles() {
  const { metafile } = await bundle({
    absWorkingDir: root,
    entryPoints: entries(),
    bundle: true,
    write: false,
    metafile: true,
    outdir: 'out',
    platform: 'node',
    format: 'esm',
    // As Node resolves, which knows no "module" field.
    mainFields: ['main'],
    conditions: ['node', 'node-addons'],
    // Their content is not needed; a native module or an optional package that is missing is not imported either.
    loader: { '.node': 'empty', '.wasm': 'empty' },
    logLevel: 'error',
  });
  // OPENED and ONNX_LIBRARIES have the native modules of these packages.
  return Object.keys(metafile.inputs).filter((path) => !path.startsWith(ONNX_LIBRARIES));
}

/** package.json of every package of which a file is copied, and of its folders that have one of their own. */
function packageFiles(files) {
  const found = new Set();
  for (const file of files) {
    for (let folder = dirname(file); folder.includes('node_modules/'); folder = dirname(folder)) {
      const path = join(folder, 'package.json');
      if (existsSync(join(root, path))) found.add(relative('.', path));
    }
  }
  return found;
}
