/** Reads which instance a DICOM file holds, from its first bytes. */
import { open } from 'node:fs/promises';
import dicomParser, { type DataSet } from 'dicom-parser';
import { SaladError } from '../../../../src/errors/index.js';
import type { InstanceIdentity } from './instance.js';

/** More than file meta information takes. */
const HEAD_BYTES = 64 * 1024;
/** PS3.5 section 9.1. */
export const UID_PATTERN = /^(0|[1-9]\d*)(\.(0|[1-9]\d*))+$/;
const UID_LENGTH_MAX = 64;

export interface FileHead extends InstanceIdentity {
  /** Where the data set begins, in bytes. */
  readonly dataSetAt: number;
}

export function isUid(text: string): boolean {
  return text.length <= UID_LENGTH_MAX && UID_PATTERN.test(text);
}

/**
 * The identity in the file meta information; what is missing there is read from the data set.
 * @throws SaladError IMAGE_UNREADABLE where there is none
 */
export function parseFileHead(head: Uint8Array): FileHead {
  let meta: DataSet & { readonly position: number };
  try {
    // Its types lack `readPart10Header`, which stops before the data set.
    const reader = dicomParser as unknown as { readPart10Header(bytes: Uint8Array): typeof meta };
    meta = reader.readPart10Header(head);
  } catch {
    throw unreadable();
  }
  const syntaxUid = textOf(meta, 'x00020010');
  let [sopClassUid, sopInstanceUid] = [textOf(meta, 'x00020002'), textOf(meta, 'x00020003')];
  if (sopClassUid === '' || sopInstanceUid === '') {
    const data = beginOfDataSet(head);
    [sopClassUid, sopInstanceUid] = [textOf(data, 'x00080016'), textOf(data, 'x00080018')];
  }
  if (![sopClassUid, sopInstanceUid, syntaxUid].every(isUid)) throw unreadable();
  return { sopClassUid, sopInstanceUid, syntaxUid, dataSetAt: meta.position };
}

function textOf(data: DataSet | undefined, tag: string): string {
  return (data?.string(tag) ?? '').replace(/\0+$/, '').trim();
}

/** The elements up to the SOP Instance UID; undefined where they cannot be read. */
function beginOfDataSet(head: Uint8Array): DataSet | undefined {
  try {
    return dicomParser.parseDicom(head, { untilTag: 'x00080018' });
  } catch {
    return undefined;
  }
}

/** Reads the head of a file. @throws SaladError IMAGE_UNREADABLE; errors of the operating system */
export async function readFileHead(path: string): Promise<FileHead> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return parseFileHead(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

function unreadable(): SaladError {
  return new SaladError('IMAGE_UNREADABLE', 'the file has no readable DICOM file meta information');
}
