/** Attributes that may differ from frame to frame: functional groups of enhanced objects (DICOM PS3.3 C.7.6.16). */
import type { DicomDataSet, Tag } from './data-set.js';

const SHARED: Tag = 'x52009229';
const PER_FRAME: Tag = 'x52009230';

/**
 * The data set that holds the attributes of a functional group for one frame: the frame's own, else the shared one, else
 * the root, where objects that are not enhanced have them.
 * @param macro sequence of the group, such as Frame VOI LUT Sequence (0028,9132)
 * @param frame from 0
 */
export function frameGroup(root: DicomDataSet, macro: Tag, frame: number): DicomDataSet {
  const own = root.items(PER_FRAME)[frame]?.items(macro)[0];
  return own ?? root.items(SHARED)[0]?.items(macro)[0] ?? root;
}
