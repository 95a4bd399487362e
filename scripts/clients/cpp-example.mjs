// Builds the C++ example with Debian's gRPC, which is downloaded and unpacked, not installed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { root } from '../root.mjs';

const PACKAGES = [
  'libabsl-dev',
  'libabsl20220623',
  'libc-ares2',
  'libgrpc++-dev',
  'libgrpc++1.51',
  'libgrpc-dev',
  'libgrpc29',
  'libprotobuf-dev',
  'libprotobuf32',
  'libprotoc32',
  'libre2-9',
  'protobuf-compiler',
  'protobuf-compiler-grpc',
];

/** @returns the folder of the unpacked packages, made once */
export function grpcForCpp() {
  const folder = join(root, '.cache/grpc-cpp');
  const stamp = join(folder, '.unpacked');
  if (!existsSync(stamp)) {
    console.error('grpc-cpp: unpacking Debian packages (once)');
    unpackDebian(PACKAGES, folder);
    writeFileSync(stamp, '');
  }
  return folder;
}

/** @param out a folder for what is generated and built @returns the program */
export function buildCppExample(out) {
  const grpc = join(grpcForCpp(), 'usr');
  const machine = execFileSync('g++', ['-dumpmachine'], { encoding: 'utf8' }).trim();
  const libraries = join(grpc, 'lib', machine);
  const environment = { ...process.env, LD_LIBRARY_PATH: libraries };
  const options = { cwd: out, stdio: ['ignore', 2, 2], env: environment };
  mkdirSync(out, { recursive: true });
  const proto = join(root, 'proto');
  const files = ['types', 'anomaly_scoring'].map((name) => join(proto, 'salad/v1', `${name}.proto`));
  const plugin = `--plugin=protoc-gen-grpc=${join(grpc, 'bin/grpc_cpp_plugin')}`;
  execFileSync(
    join(grpc, 'bin/protoc'),
    [`-I${proto}`, '--cpp_out=.', '--grpc_out=.', plugin, ...files],
    options,
  );
  const sources = ['types.pb.cc', 'anomaly_scoring.pb.cc', 'anomaly_scoring.grpc.pb.cc'];
  const program = join(out, 'stream_detector');
  const compile = ['-std=c++17', '-O0', '-pthread', '-I.', `-I${join(grpc, 'include')}`];
  // Old tags: the libraries find each other there too.
  const link = [
    `-L${libraries}`,
    `-Wl,--disable-new-dtags,-rpath,${libraries}`,
    '-lgrpc++',
    '-lgrpc',
    '-lgpr',
    '-lprotobuf',
    '-labsl_synchronization',
  ];
  const all = [join(root, 'clients/cpp/stream_detector.cc'), ...sources.map((name) => `salad/v1/${name}`)];
  execFileSync('g++', [...compile, '-o', program, ...all, ...link], options);
  return program;
}
