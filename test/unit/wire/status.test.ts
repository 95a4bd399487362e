import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { ERROR_REASONS, type ErrorReason, SaladError } from '../../../src/errors/index.js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../../src/gen/google/rpc/error_details.js';
import { Status } from '../../../src/gen/google/rpc/status.js';
import { toServiceError } from '../../../src/wire/status.js';

function details(error: unknown) {
  const serviceError = toServiceError(error, 250);
  const [bytes] = serviceError.metadata.get('grpc-status-details-bin');
  const decoded = Status.decode(bytes as Buffer);
  const byType = new Map(decoded.details.map(({ typeUrl, value }) => [typeUrl.split('.').at(-1), value]));
  return { serviceError, decoded, byType };
}

describe('toServiceError', () => {
  it('maps every reason to a code, with domain and reason in the details', () => {
    for (const reason of Object.keys(ERROR_REASONS) as ErrorReason[]) {
      const { serviceError, decoded, byType } = details(new SaladError(reason, 'words'));
      assert.ok(serviceError.code > status.OK && serviceError.code <= status.UNAUTHENTICATED);
      assert.equal(decoded.code, serviceError.code);
      const info = ErrorInfo.decode(byType.get('ErrorInfo')!);
      assert.deepEqual([info.reason, info.domain], [reason, 'salad-serve']);
    }
  });

  it('names the fields of a bad request', () => {
    const { byType, serviceError } = details(SaladError.field('HEADER_INVALID', 'header.image.rows', 'is 0'));
    assert.equal(serviceError.code, status.INVALID_ARGUMENT);
    const { fieldViolations } = BadRequest.decode(byType.get('BadRequest')!);
    assert.deepEqual(
      fieldViolations.map(({ field, description }) => [field, description]),
      [['header.image.rows', 'is 0']],
    );
  });

  it('sends a retry delay only for temporary failures', () => {
    const delay = (error: SaladError) => {
      const value = details(error).byType.get('RetryInfo');
      return value === undefined ? undefined : RetryInfo.decode(value).retryDelay;
    };
    assert.deepEqual(delay(new SaladError('DRAINING', 'x')), { seconds: 0n, nanos: 250_000_000 });
    assert.deepEqual(delay(new SaladError('OVERLOADED', 'x', { retryAfterMs: 1500 })), {
      seconds: 1n,
      nanos: 500_000_000,
    });
    assert.equal(delay(new SaladError('TILE_DUPLICATE', 'x')), undefined);
  });

  it('does not send the message of an unexpected error', () => {
    const { serviceError, decoded } = details(new TypeError('secret path /etc/x'));
    assert.equal(serviceError.code, status.INTERNAL);
    assert.doesNotMatch(`${serviceError.message} ${serviceError.details} ${decoded.message}`, /secret/);
  });
});
