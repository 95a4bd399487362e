/** Failed calls in the words of somebody who typed a command: what is wrong, and which flag to try. */
import { SaladClientError } from '../../../clients/typescript/src/index.js';

/** How a server is reached. */
export interface ServerAddress {
  /** As given with `--target`; undefined for a server started by this command. */
  readonly target: string | undefined;
  readonly tls: boolean;
}

/** A call to a server failed; the message tells what to try. */
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

/** @returns a ServerCallError for an error of the client, anything else as it came */
export function explainCall(error: unknown, server: ServerAddress): unknown {
  return error instanceof SaladClientError ? new ServerCallError(error, explanation(error, server)) : error;
}

function explanation(error: SaladClientError, server: ServerAddress): string {
  if (error.reason !== undefined) return ofReason(error, server);
  if (error.status === 'UNAVAILABLE') return ofConnection(connectionError(error.message), server);
  if (error.status === 'DEADLINE_EXCEEDED') {
    const [, seconds] = /after ([\d.]+)s/.exec(error.message) ?? [];
    return `${nameOf(server)} did not answer in time${seconds === undefined ? '' : ` (${seconds} s)`}`;
  }
  if (error.status === 'UNIMPLEMENTED')
    return `${nameOf(server)} is not a salad-serve server: ${error.message}`;
  return error.message;
}

/** The server's own words, with the flag that helps. */
function ofReason(error: SaladClientError, server: ServerAddress): string {
  switch (error.reason) {
    case 'CREDENTIALS_MISSING':
      return `${nameOf(server)} asks for credentials (${error.message}): give --token-file or --api-key-file`;
    case 'CREDENTIALS_INVALID':
      return `${nameOf(server)} does not accept the token or key: ${error.message}`;
    case 'SCOPE_MISSING':
      return `${nameOf(server)} does not allow this with the token or key given: ${error.message}`;
    default:
      return ofField(error);
  }
}

/** The bytes of a file are the field `encoded` on the wire, which says nothing to somebody who named a file. */
function ofField({ message, fieldViolations }: SaladClientError): string {
  const [violation] = fieldViolations;
  return violation?.field === 'encoded' ? violation.description : message;
}

function nameOf({ target }: ServerAddress): string {
  return target ?? 'the server';
}

/** The innermost error: every layer of grpc-js puts its own words around it. */
function connectionError(message: string): string {
  return message
    .replace(/\s*Resolution note:\s*$/, '')
    .replace(/^.*Last error:\s*/s, '')
    .replace(/^Error:\s*/, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[\d:.]+Z\)\.?$/, '')
    .trim();
}

/** [what the connection said, what that means and what to try]: the first that matches counts. */
const CONNECTION_ERRORS: readonly (readonly [RegExp, (name: string, tls: boolean) => string])[] = [
  [
    /ECONNREFUSED/,
    (name) => `${name} refuses the connection: no server listens there, or a firewall refuses`,
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
    (name) => `${name} does not speak TLS: leave --tls, --ca-file and the client certificate out`,
  ],
  [
    /certificate required|handshake failure/,
    (name) => `${name} asks for a client certificate: give --cert-file and --key-file`,
  ],
  [
    /alert (unknown ca|bad certificate|certificate unknown|certificate expired)/,
    (name) => `${name} does not accept the client certificate of --cert-file`,
  ],
  [
    /unable to verify|self[- ]signed|unable to get (local )?issuer/,
    (name) =>
      `the certificate of ${name} is from an authority that is not trusted here: give it with --ca-file`,
  ],
  [
    /does not match certificate's altnames/,
    (name) => `the certificate of ${name} is for another name: use one of its names in --target`,
  ],
  [/certificate has expired/, (name) => `the certificate of ${name} has expired`],
  [
    /Failed to connect|ECONNRESET|Connection dropped|socket hang up/,
    (name, tls) =>
      tls
        ? `${name} ends the connection: it may not accept the client certificate, or ask for one (--cert-file, --key-file)`
        : `${name} ends the connection: if it expects TLS, give --tls or --ca-file`,
  ],
];

function ofConnection(text: string, server: ServerAddress): string {
  const found = CONNECTION_ERRORS.find(([pattern]) => pattern.test(text));
  const name = nameOf(server);
  if (!found) return `${name} cannot be reached: ${text}`;
  // What OpenSSL says is of no help beside the sentence, but an altname mismatch names the names.
  const detail = /altnames/.test(text) ? ` (${text})` : '';
  return `${found[1](name, server.tls)}${detail}`;
}
