// Debian's gRPC for C++, which is downloaded and unpacked, not installed.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackDebian } from '../debian-packages.mjs';
import { root } from '../root.mjs';

const PACKAGES = [
  'libabsl-dev',
  'libabsl20220623',
  'libc-ares-dev',
  'libc-ares2',
  'libgrpc++-dev',
  'libgrpc++1.51',
  'libgrpc-dev',
  'libgrpc29',
  'libprotobuf-dev',
  'libprotobuf32',
  'libprotoc32',
  'libre2-9',
  'libre2-dev',
  'libssl-dev',
  'protobuf-compiler',
  'protobuf-compiler-grpc',
  'zlib1g-dev',
];

/** @returns the folder of the unpacked packages, made once */
export function grpcForCpp() {
  const folder = join(root, '.cache/grpc-cpp');
  const stamp = join(folder, '.unpacked');
  const packages = PACKAGES.join(' ');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== packages) {
    console.error('grpc-cpp: unpacking Debian packages (once)');
    unpackDebian(PACKAGES, folder);
    writeFileSync(stamp, packages);
  }
  return folder;
}

/** @returns an environment in which compilers, linkers and programs find the packages as if they were installed */
export function cppEnvironment() {
  const folder = grpcForCpp();
  const machine = execFileSync('g++', ['-dumpmachine'], { encoding: 'utf8' }).trim();
  const libraries = join(folder, 'usr/lib', machine);
  return {
    ...process.env,
    PATH: `${join(folder, 'usr/bin')}:${process.env.PATH}`,
    LD_LIBRARY_PATH: libraries,
    PKG_CONFIG_PATH: join(libraries, 'pkgconfig'),
    PKG_CONFIG_SYSROOT_DIR: folder,
  };
}
