/** An instance with a result in the inbox of a gateway, as after scoring. */
import assert from 'node:assert/strict';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import type { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import type { ObjectKind } from '../../../clients/modality/src/inbox/instance.js';
import { Part10Receiver } from '../../../clients/modality/src/inbox/part10-receiver.js';
import type { FrameResult, InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';

/**
 * @param besides what each destination gets besides the report
 * @param own values of its frame
 * @returns its number
 */
export async function addScored(
  inbox: Inbox,
  sopInstanceUid: string,
  scoredMs: number,
  destinations: readonly string[],
  besides: readonly ObjectKind[] = [],
  own: Partial<FrameResult> = {},
): Promise<number> {
  const elements = {
    '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1',
    '00080018 UI': sopInstanceUid,
    '00100020 LO': 'PAT-1',
    '0020000D UI': '1.2.5',
    '0020000E UI': '1.2.6',
  };
  const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
  const receiver = new Part10Receiver(inbox, 'routine');
  await receiver.write(await dicomFile({ ...image, elements }));
  const { id } = await receiver.keep();
  assert.equal(inbox.index.takeNext()!.id, id);
  const wanted = destinations.map((destination) => ({
    destination,
    kinds: ['report', ...besides] as const,
  }));
  inbox.index.scored(id, JSON.stringify(resultOf(scoredMs, own)), wanted);
  return id;
}

function resultOf(scoredMs: number, own: Partial<FrameResult>): InstanceResult {
  return {
    ...{ scoredMs, rows: 40, columns: 48 },
    frames: [
      {
        ...{ frame: 1, model: 'phantom@1', modelHash: 'ab'.repeat(32), engines: ['onnx'] },
        ...{ imageScore: 9.77, pValue: 0.00249, decision: 'anomalous', threshold: 4.21 },
        ...{ maxFalsePositiveRate: 0.05, coverage: { scored: 9, skipped: 0, failed: 0 } },
        topPatches: [
          { score: 1, robustZ: 10.85, pValue: 0.002, box: { top: 4, left: 8, bottom: 20, right: 24 } },
        ],
        warnings: [],
        ...own,
      },
    ],
  };
}
