/** Server reflection: what grpcurl and other tools need to know the services and the details of errors. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { SaladError } from '../errors/index.js';

/** Written by `npm run gen`: google.protobuf.FileDescriptorSet of every service offered and of our error details. */
const DESCRIPTORS = 'descriptors.binpb';

/**
 * Not from proto-loader's own descriptors: they merge files, lose map fields and know no file that nothing imports, so
 * that tools could not read our error details.
 */
export async function addReflection(server: Server): Promise<void> {
  const fileDescriptorProtos = filesOf(await readFile(join(protoRoot(), DESCRIPTORS)));
  // All that the service reads of a definition.
  const definition = { all: { fileDescriptorProtos } } as unknown as PackageDefinition;
  new ReflectionService(definition).addToServer(server);
}

/** The files of a google.protobuf.FileDescriptorSet, each still encoded. */
function filesOf(set: Uint8Array): Buffer[] {
  const files: Buffer[] = [];
  const reader = new BinaryReader(set);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
}

/** The checkout's or the package's proto folder, whether run from src/ or from dist/src/. */
function protoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'proto', 'salad'))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new SaladError('INTERNAL', 'the proto folder is missing from this installation');
    folder = parent;
  }
  return join(folder, 'proto');
}
