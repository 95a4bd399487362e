/** Sends one object to an archive by STOW-RS (DICOM PS3.18 section 10.5). */
import { randomUUID } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { withTimeLimit } from '../../../../src/util/time-limit.js';
import type { ResultObject } from '../results/result-object.js';
import { type DeliveryOutcome, outcomeOfStatus } from './outcome.js';
import { readStowAnswer } from './stow-answer.js';

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
const INTERNAL_ERROR = 500;
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Never rejects. */
export async function storeByStow(
  target: StowTarget,
  { bytes, sopInstanceUid }: Pick<ResultObject, 'bytes' | 'sopInstanceUid'>,
  signal: AbortSignal,
): Promise<DeliveryOutcome> {
  try {
    const { status, body } = await withTimeLimit(target.timeoutMs, signal, (limited) =>
      post(target, bytes, limited),
    );
    return outcomeOf(status, body, sopInstanceUid);
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
  const end = Buffer.from(`\r\n--${boundary}--\r\n`);
  const address = new URL(`${url.replace(/\/+$/, '')}/studies`);
  const options = {
    method: 'POST',
    signal,
    headers: {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      'content-length': head.byteLength + dicomFile.byteLength + end.byteLength,
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
    request.write(head);
    request.write(dicomFile);
    request.end(end);
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

/**
 * Only an answer that names the object as stored ends its delivery: also a proxy answers 200, and an archive that did not
 * store the object.
 */
export function outcomeOf(status: number, body: string, sopInstanceUid: string): DeliveryOutcome {
  const { isStored, failure } = readStowAnswer(body, sopInstanceUid);
  if (failure !== undefined) {
    const reason = `HTTP ${status}, failure reason 0x${failure.toString(16).padStart(4, '0')}`;
    return failure === 0 ? { result: 'rejected', reason } : outcomeOfStatus(failure, reason);
  }
  const reason = `HTTP ${status}`;
  if (status >= 200 && status < 300) {
    if (isStored) return { result: 'delivered', reason };
    const unclear = `${reason}, and the answer does not name the object as stored`;
    return { result: 'unavailable', reason: unclear, cause: 'archiveOrObject' };
  }
  if (status === INTERNAL_ERROR) return { result: 'unavailable', reason, cause: 'archiveOrObject' };
  return { result: REJECTING.has(status) ? 'rejected' : 'unavailable', reason };
}
