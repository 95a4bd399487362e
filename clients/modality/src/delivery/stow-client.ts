/** Sends one object to an archive by STOW-RS (DICOM PS3.18 section 10.5). */
import { randomUUID } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { withTimeLimit } from '../../../../src/util/time-limit.js';
import { type DeliveryOutcome, outcomeOfStatus } from './outcome.js';

export interface StowTarget {
  /** Of the DICOMweb service; `/studies` is added. */
  readonly url: string;
  /** Value of the header `Authorization`. */
  readonly authorization?: string | undefined;
  /** Trusted authorities, as PEM. @default those of the system */
  readonly ca?: Uint8Array | undefined;
  readonly timeoutMs: number;
}

/** The object itself is wrong for the archive; other statuses say something about archive or access. */
const REJECTING: ReadonlySet<number> = new Set([400, 409, 410, 413, 415, 422]);
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Never rejects. */
export async function storeByStow(
  target: StowTarget,
  dicomFile: Uint8Array,
  signal: AbortSignal,
): Promise<DeliveryOutcome> {
  try {
    const { status, body } = await withTimeLimit(target.timeoutMs, signal, (limited) =>
      post(target, dicomFile, limited),
    );
    return outcomeOf(status, body);
  } catch (error) {
    return { result: 'unavailable', reason: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError') return 'no answer in time';
  if (name === 'AbortError') return 'the gateway stops';
  return typeof code === 'string' ? code : name;
}

function post(
  { url, authorization, ca }: StowTarget,
  dicomFile: Uint8Array,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const boundary = randomUUID();
  const head = Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
  const body = Buffer.concat([head, dicomFile, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  const address = new URL(`${url.replace(/\/+$/, '')}/studies`);
  const options = {
    method: 'POST',
    signal,
    headers: {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      'content-length': body.byteLength,
      accept: 'application/dicom+json',
      ...(authorization === undefined ? {} : { authorization }),
    },
    ...(ca === undefined ? {} : { ca: Buffer.from(ca) }),
  };
  return new Promise((resolve, reject) => {
    const request = (address.protocol === 'https:' ? httpsRequest : httpRequest)(address, options);
    request.once('response', (response) => {
      readText(response).then((text) => resolve({ status: response.statusCode ?? 0, body: text }), reject);
    });
    request.once('error', reject);
    request.end(body);
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > ANSWER_BYTES_MAX) throw Object.assign(new Error('too long'), { code: 'ANSWER_TOO_LONG' });
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** An archive may answer 200 and still say that it did not store the object: the body counts, too. */
export function outcomeOf(status: number, body: string): DeliveryOutcome {
  const failure = failureReasonOf(body);
  if (failure !== undefined) {
    const reason = `HTTP ${status}, failure reason 0x${failure.toString(16).padStart(4, '0')}`;
    return failure === 0 ? { result: 'rejected', reason } : outcomeOfStatus(failure, reason);
  }
  const reason = `HTTP ${status}`;
  if (status >= 200 && status < 300) return { result: 'delivered', reason };
  return { result: REJECTING.has(status) ? 'rejected' : 'unavailable', reason };
}

/** Failure Reason (0008,1197) of the first item of the Failed SOP Sequence (0008,1198); 0 where it has none. */
function failureReasonOf(body: string): number | undefined {
  try {
    const answer = JSON.parse(body) as Record<string, { Value?: Record<string, { Value?: unknown[] }>[] }>;
    const failed = answer['00081198']?.Value?.[0];
    if (failed === undefined) return undefined;
    const reason = failed['00081197']?.Value?.[0];
    return typeof reason === 'number' ? reason : 0;
  } catch {
    return undefined;
  }
}
