/** A gRPC server that takes acquisitions and never answers: what a gateway sees of a server that is far too slow. */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  AnomalyScoringService,
  type StreamAcquisitionRequest,
  type StreamAcquisitionResponse,
} from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { Priority } from '../../../src/gen/salad/v1/types.js';

/** One call, as the server saw it. */
export interface HeldCall {
  readonly priority: 'stat' | 'routine';
  /** Until its deadline, when its header came. */
  readonly remainingMs: number;
  /** The client gave it up, or its deadline passed. */
  isOver: boolean;
}

export interface SilentServer {
  readonly address: string;
  readonly calls: readonly HeldCall[];
  stop(): void;
}

/** @param listen HOST:PORT */
export async function startSilentServer(listen = '127.0.0.1:0'): Promise<SilentServer> {
  const calls: HeldCall[] = [];
  const server = new Server();
  server.addService(AnomalyScoringService, {
    streamAcquisition(call: ServerDuplexStream<StreamAcquisitionRequest, StreamAcquisitionResponse>) {
      let held: HeldCall | undefined;
      call.on('error', () => {});
      call.on('data', ({ payload }: StreamAcquisitionRequest) => {
        if (payload?.$case !== 'header') return;
        const isStat = payload.value.priority === Priority.PRIORITY_STAT;
        const remainingMs = Number(call.getDeadline()) - Date.now();
        held = { priority: isStat ? 'stat' : 'routine', remainingMs, isOver: call.cancelled };
        calls.push(held);
      });
      call.on('cancelled', () => {
        if (held !== undefined) held.isOver = true;
      });
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { address: `127.0.0.1:${port}`, calls, stop: () => server.forceShutdown() };
}
