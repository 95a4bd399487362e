/** Handlers of calls with one request and one answer. */
import type { handleUnaryCall } from '@grpc/grpc-js';
import { toServiceError } from '../../wire/status.js';

/** Answers with what `answer` returns; what it throws, or rejects with, becomes the call's status. */
export function unaryHandler<Request, Response>(
  answer: (request: Request) => Response | Promise<Response>,
  retryDelayMs: number,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const answered = async () => answer(call.request);
    answered().then(
      (response) => callback(null, response),
      (error: unknown) => callback(toServiceError(error, retryDelayMs)),
    );
  };
}
