/** Server reflection: describes the services and the error details to tools such as grpcurl. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { FILE_DESCRIPTOR_SET } from '../gen/descriptors.js';

/**
 * Uses generated descriptors instead of proto-loader's: those merge files, lose map fields and omit files that no other
 * file imports, so that tools could not read the error details.
 */
export function addReflection(server: Server): void {
  const fileDescriptorProtos = decodeFiles(Buffer.from(FILE_DESCRIPTOR_SET, 'base64'));
  // The service reads no other field of a definition.
  const definition = { all: { fileDescriptorProtos } } as unknown as PackageDefinition;
  new ReflectionService(definition).addToServer(server);
}

/** @returns the files of a google.protobuf.FileDescriptorSet, each as encoded bytes */
function decodeFiles(set: Uint8Array): Buffer[] {
  const files: Buffer[] = [];
  const reader = new BinaryReader(set);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
}
