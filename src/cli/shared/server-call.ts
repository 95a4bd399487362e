/** Explains failed calls to a server: the cause, and the flag that may help. */
import { SaladClientError } from '../../../clients/typescript/src/index.js';

/** Address of a server, for messages. */
export interface ServerAddress {
  /** The value of `--target`; undefined for a server started by this command. */
  readonly target: string | undefined;
  readonly tls: boolean;
  /** It has answered calls before: then neither TLS nor credentials explain a lost connection. @default false */
  readonly hasAnswered?: boolean;
}

/** A failed call to a server; the message says what to do next. */
export class ServerCallError extends Error {
  override readonly name = 'ServerCallError';
  /** gRPC status. */
  readonly status: string;
  readonly reason: string | undefined;

  constructor(error: SaladClientError, message: string) {
    super(message, { cause: error });
    this.status = error.status;
    this.reason = error.reason;
  }
}

/** @returns a ServerCallError for an error of the client; any other error unchanged */
export function explainCall(error: unknown, server: ServerAddress): unknown {
  return error instanceof SaladClientError ? new ServerCallError(error, explanation(error, server)) : error;
}

function explanation(error: SaladClientError, server: ServerAddress): string {
  if (error.reason !== undefined) return explainReason(error, server);
  if (error.status === 'UNAVAILABLE') return explainConnection(connectionError(error.message), server);
  if (error.status === 'DEADLINE_EXCEEDED') {
    const [, seconds] = /after ([\d.]+)s/.exec(error.message) ?? [];
    return `${nameOf(server)} did not answer in time${seconds === undefined ? '' : ` (${seconds} s)`}`;
  }
  if (error.status === 'UNIMPLEMENTED')
    return `${nameOf(server)} is not a salad-serve server: ${error.message}`;
  return error.message;
}

/** The message of the server, with the flag that helps. */
function explainReason(error: SaladClientError, server: ServerAddress): string {
  switch (error.reason) {
    case 'CREDENTIALS_MISSING':
      return `${nameOf(server)} requires credentials (${error.message}): add --token-file or --api-key-file`;
    case 'CREDENTIALS_INVALID':
      return `${nameOf(server)} does not accept the token or key: ${error.message}`;
    case 'SCOPE_MISSING':
      return `${nameOf(server)} does not allow this call with the given token or key: ${error.message}`;
    default:
      return explainFieldViolation(error);
  }
}

/**
 * Omits the field name for a file's bytes: the wire calls them `encoded`, which a user who named a file cannot know.
 * Only older servers add it.
 */
function explainFieldViolation({ message, fieldViolations }: SaladClientError): string {
  const [violation] = fieldViolations;
  return violation?.field === 'encoded' ? violation.description : message;
}

function nameOf({ target }: ServerAddress): string {
  return target ?? 'the server';
}

/** Extracts the innermost error message: every layer of grpc-js adds its own text around it. */
function connectionError(message: string): string {
  return message
    .replace(/\s*Resolution note:\s*$/, '')
    .replace(/^.*Last error:\s*/s, '')
    .replace(/^Error:\s*/, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[\d:.]+Z\)\.?$/, '')
    .trim();
}

/** [error of the connection, its meaning and what to do next] */
type ConnectionError = readonly [RegExp, (name: string, tls: boolean) => string];

const LOST_CONNECTION: ConnectionError = [
  /Failed to connect|ECONNRESET|Connection dropped|socket hang up/,
  (name, tls) =>
    tls
      ? `${name} closes the connection: it may require another client certificate, or one at all (--cert-file, --key-file)`
      : `${name} closes the connection: if it expects TLS, add --tls or --ca-file`,
];

/** The first matching entry applies. */
const CONNECTION_ERRORS: readonly ConnectionError[] = [
  [
    /ECONNREFUSED/,
    (name) => `${name} refuses the connection: start a server there, or check host, port and firewall`,
  ],
  [
    /Name resolution failed|ENOTFOUND|EAI_AGAIN/,
    (name) => `${name}: the host name cannot be resolved; check --target`,
  ],
  [
    /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    (name) => `${name} cannot be reached: check host, port and firewall`,
  ],
  [
    /wrong version number|packet length too long|EPROTO/,
    (name) => `${name} does not speak TLS: remove --tls, --ca-file, --cert-file and --key-file`,
  ],
  [
    /certificate required|handshake failure/,
    (name) => `${name} requires a client certificate: add --cert-file and --key-file`,
  ],
  [
    /alert (unknown ca|bad certificate|certificate unknown|certificate expired)/,
    (name) =>
      `${name} does not accept the client certificate: give another one with --cert-file and --key-file`,
  ],
  [
    /unable to verify|self[- ]signed|unable to get (local )?issuer/,
    (name) =>
      `the certificate of ${name} was issued by an authority that is not trusted here: add it with --ca-file`,
  ],
  [
    /does not match certificate's altnames/,
    (name) => `the certificate of ${name} is for another name: use one of its names in --target`,
  ],
  [/certificate has expired/, (name) => `the certificate of ${name} has expired: renew it on the server`],
  LOST_CONNECTION,
];

function explainConnection(text: string, server: ServerAddress): string {
  const match = CONNECTION_ERRORS.find(([pattern]) => pattern.test(text));
  const name = nameOf(server);
  if (server.hasAnswered && match === LOST_CONNECTION) {
    return `the connection to ${name} was lost: the server has stopped or does not answer`;
  }
  if (!match) return `${name} cannot be reached: ${text}`;
  const [, explain] = match;
  // The text of OpenSSL adds nothing to the explanation, except for a name mismatch, where it lists the valid names.
  const detail = /altnames/.test(text) ? ` (${text})` : '';
  return `${explain(name, server.tls)}${detail}`;
}
