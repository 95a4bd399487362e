/** Server reflection: what grpcurl and other tools need to know the services and the details of errors. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { FILE_DESCRIPTOR_SET } from '../gen/descriptors.js';

/**
 * Not from proto-loader's own descriptors: they merge files, lose map fields and know no file that nothing imports, so
 * that tools could not read our error details.
 */
export function addReflection(server: Server): void {
  const fileDescriptorProtos = filesOf(Buffer.from(FILE_DESCRIPTOR_SET, 'base64'));
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
