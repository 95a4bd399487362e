/** Client of grpc.health.v1. Its messages have one string and one number, so it needs no generated code. */
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { makeClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';

/** UNKNOWN: the server does not know the state yet. */
const STATES = ['UNKNOWN', 'SERVING', 'NOT_SERVING'] as const;
export type HealthState = (typeof STATES)[number];

const HEALTH: ServiceDefinition = {
  check: {
    path: '/grpc.health.v1.Health/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: (service: string) =>
      Buffer.from(new BinaryWriter().uint32(10).string(service).finish()),
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: stateOf,
  },
};

export const HealthClient = makeClientConstructor(HEALTH, 'grpc.health.v1.Health');

function stateOf(bytes: Buffer): HealthState {
  const reader = new BinaryReader(bytes);
  let state = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 8) state = reader.int32();
    else reader.skip(tag & 7);
  }
  return STATES[state] ?? 'UNKNOWN';
}
