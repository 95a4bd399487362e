/** A server of a later contract: it sends fields, an event and enumeration values that clients of today do not know. */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { StreamAcquisitionRequest } from '../../../../src/gen/salad/v1/anomaly_scoring.js';
import { AcquisitionAccepted, AcquisitionAggregate } from '../../../../src/gen/salad/v1/types.js';

/** Field 99, a string. */
const UNKNOWN_FIELD = Buffer.from([0x9a, 0x06, 0x03, 0x6e, 0x65, 0x77]);
/** An event in field 15 of the response. */
const UNKNOWN_EVENT = Buffer.from([0x7a, 0x03, 0x0a, 0x01, 0x78]);

/** A response that holds a message of its field, with a field more. */
const wrapped = (field: number, message: Uint8Array) => {
  const body = Buffer.concat([message, UNKNOWN_FIELD]);
  const length =
    body.byteLength < 128 ? [body.byteLength] : [(body.byteLength & 127) | 128, body.byteLength >> 7];
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), body]);
};

const identity = { name: 'small', version: 1, bundleSha256: '0'.repeat(64) };
const ANSWERS = [
  wrapped(
    1,
    AcquisitionAccepted.encode(
      AcquisitionAccepted.fromPartial({
        acquisitionId: 'conformance',
        model: identity,
        geometry: { workingRows: 64, workingColumns: 64, patchRows: 8, patchColumns: 8 },
      }),
    ).finish(),
  ),
  UNKNOWN_EVENT,
  wrapped(
    3,
    AcquisitionAggregate.encode(
      AcquisitionAggregate.fromPartial({
        acquisitionId: 'conformance',
        model: identity,
        imageScore: 1.5,
        pValue: 0.5,
        decision: 9 as never,
        coverage: { scored: 64 },
        warnings: [{ kind: 42 as never, message: 'new' }],
      }),
    ).finish(),
  ),
];

export async function startNewerServer(): Promise<{ readonly address: string; stop(): void }> {
  const server = new Server();
  const definition = {
    streamAcquisition: {
      path: '/salad.v1.AnomalyScoring/StreamAcquisition',
      requestStream: true,
      responseStream: true,
      requestSerialize: (message: StreamAcquisitionRequest) =>
        Buffer.from(StreamAcquisitionRequest.encode(message).finish()),
      requestDeserialize: (bytes: Buffer) => StreamAcquisitionRequest.decode(bytes),
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  } as const;
  server.addService(definition, {
    streamAcquisition: (call: ServerDuplexStream<StreamAcquisitionRequest, Buffer>) => {
      call.write(ANSWERS[0]!);
      call.on('data', ({ payload }: StreamAcquisitionRequest) => {
        if (payload?.$case !== 'end') return;
        for (const answer of ANSWERS.slice(1)) call.write(answer);
        call.end();
      });
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}
