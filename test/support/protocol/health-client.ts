/** grpc.health.v1 from the client's side: the package brings the contract, no client. */
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';

/** `check` answers SERVING or NOT_SERVING, or the number of what is neither. */
export function healthClient(address: string) {
  // biome-ignore lint/suspicious/noExplicitAny: loaded at run time, without types
  const definition = loadPackageDefinition(loadSync(protoPath)) as any;
  const health = new definition.grpc.health.v1.Health(address, credentials.createInsecure());
  return {
    check: (service: string) =>
      new Promise<string>((resolve, reject) => {
        health.check({ service }, (error: Error | null, response: { status: string | number }) =>
          error
            ? reject(error)
            : resolve(
                response.status === 1
                  ? 'SERVING'
                  : response.status === 2
                    ? 'NOT_SERVING'
                    : String(response.status),
              ),
        );
      }),
    close: () => health.close(),
  };
}
