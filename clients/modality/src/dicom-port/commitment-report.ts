/** Storage Commitment Push Model (PS3.4 annex J): what an archive reports, and how it is answered. */
import type { requests, responses } from 'dcmjs-dimse';
import { dimse, STATUS } from './dimse.js';

export const STORAGE_COMMITMENT = {
  sopClassUid: '1.2.840.10008.1.20.1',
  /** The instance that all requests and reports are about (PS3.4 J.3.5). */
  sopInstanceUid: '1.2.840.10008.1.20.1.1',
  /** Action Type ID of the request (PS3.4 J.3.2). */
  requestAction: 1,
} as const;

/** The data set of an N-EVENT-REPORT (PS3.4 table J.3-2). */
export interface CommitmentReport {
  readonly transactionUid: string;
  /** SOP Instance UIDs that the archive keeps. */
  readonly committed: ReadonlySet<string>;
  /** Failure Reason (0008,1197) by SOP Instance UID; 0 where the archive gives none. */
  readonly failed: ReadonlyMap<string, number>;
}

/** Takes the reports of archives, on whichever association they come. */
export interface ReportReceiver {
  /** Whether an archive that commits storage has this calling title and knows this program by the called title. */
  isArchive(callingAeTitle: string, calledAeTitle: string): boolean;
  /** @param callingAeTitle of the archive that reports @returns false where the index cannot be written */
  take(report: CommitmentReport, callingAeTitle: string): boolean;
}

/**
 * Gives a report to its receiver. A report of an unknown transaction is answered with success, too: its delivery has ended.
 * @returns the response, with a failure status where the report cannot be read or kept, so that the archive repeats it
 */
export function answerReport(
  request: requests.NEventReportRequest,
  receiver: Pick<ReportReceiver, 'take'>,
  callingAeTitle: string,
): responses.NEventReportResponse {
  const response = dimse.responses.NEventReportResponse.fromRequest(request);
  const report = parseReport(request.getDataset()?.getElements() ?? {});
  if (report === undefined) response.setStatus(STATUS.invalidArgumentValue);
  else if (receiver.take(report, callingAeTitle)) response.setStatus(STATUS.success);
  else response.setStatus(STATUS.processingFailure);
  return response;
}

/** @param elements as dcmjs names them @returns undefined where there is no Transaction UID */
function parseReport(elements: Readonly<Record<string, unknown>>): CommitmentReport | undefined {
  const { TransactionUID } = elements;
  if (typeof TransactionUID !== 'string' || TransactionUID === '') return undefined;
  const failed = itemsOf(elements['FailedSOPSequence']).map(
    ({ ReferencedSOPInstanceUID, FailureReason }) =>
      [String(ReferencedSOPInstanceUID), Number(FailureReason) || 0] as const,
  );
  const committed = itemsOf(elements['ReferencedSOPSequence']).map(({ ReferencedSOPInstanceUID }) =>
    String(ReferencedSOPInstanceUID),
  );
  return { transactionUid: TransactionUID, committed: new Set(committed), failed: new Map(failed) };
}

function itemsOf(sequence: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (sequence === undefined || sequence === null) return [];
  return (Array.isArray(sequence) ? sequence : [sequence]) as readonly Readonly<Record<string, unknown>>[];
}
