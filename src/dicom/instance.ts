/** The identification of an instance and its view; output only on request. */
import { createHash } from 'node:crypto';
import type { DicomDataSet, Tag } from './data-set.js';
import { frameGroup } from './frame-attributes.js';

const SOP_INSTANCE_UID: Tag = 'x00080018';
const VIEW_POSITION: Tag = 'x00185101';
const PATIENT_ORIENTATION: Tag = 'x00200020';
const LATERALITY: Tag = 'x00200060';
const IMAGE_LATERALITY: Tag = 'x00200062';
const FRAME_ANATOMY: Tag = 'x00209071';
const FRAME_LATERALITY: Tag = 'x00209072';
const PATIENT_ID: Tag = 'x00100020';
const ISSUER_OF_PATIENT_ID: Tag = 'x00100021';

/** Views of PS3.3 C.8.1.2.1.1 and C.8.11.7.1.1, and other common ones; a file may hold any text there. */
const VIEWS: ReadonlySet<string> = new Set([
  ...[
    'AP',
    'PA',
    'LL',
    'RL',
    'RLD',
    'LLD',
    'RLO',
    'LLO',
    'LAO',
    'RAO',
    'LPO',
    'RPO',
    'LAT',
    'LATERAL',
    'OBL',
  ],
  ...['AXIAL', 'ML', 'LM', 'MLO', 'LMO', 'CC', 'FB', 'SIO', 'ISO', 'XCC', 'XCCL', 'XCCM', 'CV', 'AT'],
]);

/** Missing and unknown values are null. */
export interface DicomInstance {
  readonly sopInstanceUid: string | null;
  /** R, L, U (unpaired) or B (both). */
  readonly laterality: string | null;
  /** View Position (0018,5101), such as PA, AP, CC, MLO. */
  readonly view: string | null;
  /** Patient Orientation (0020,0020): directions of rows and columns, such as `L\F`. */
  readonly orientation: string | null;
}

export function instanceOf(root: DicomDataSet): DicomInstance {
  const laterality =
    frameGroup(root, FRAME_ANATOMY, 0).text(FRAME_LATERALITY) ??
    root.text(IMAGE_LATERALITY) ??
    root.text(LATERALITY);
  return {
    sopInstanceUid: matching(root.text(SOP_INSTANCE_UID), /^[0-9.]{1,64}$/),
    laterality: matching(laterality, /^[RLUB]$/),
    view: listedView(root.text(VIEW_POSITION)),
    orientation: matching(root.texts(PATIENT_ORIENTATION).join('\\'), /^[AFHLPR]{1,3}\\[AFHLPR]{1,3}$/),
  };
}

/**
 * A key that is the same for all files of a patient: SHA-256 of Patient ID and its issuer, hexadecimal. A short ID can be
 * recovered from the hash by trial, so the key is only used to group files and is never written.
 * @returns undefined where the file names no patient
 */
export function patientKeyOf(root: DicomDataSet): string | undefined {
  const id = root.text(PATIENT_ID);
  if (id === undefined) return undefined;
  return createHash('sha256')
    .update(JSON.stringify([id, root.text(ISSUER_OF_PATIENT_ID) ?? '']))
    .digest('hex');
}

function listedView(view: string | undefined): string | null {
  return view !== undefined && VIEWS.has(view) ? view : null;
}

function matching(value: string | undefined, pattern: RegExp): string | null {
  return value !== undefined && pattern.test(value) ? value : null;
}
