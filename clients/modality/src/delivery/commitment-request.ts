/** Asks an archive to commit objects: N-ACTION of the Storage Commitment Push Model (PS3.4 J.3.2). */
import type { association, requests, responses } from 'dcmjs-dimse';
import { STORAGE_COMMITMENT } from '../dicom-port/commitment-report.js';
import { dimse } from '../dicom-port/dimse.js';
import type { SentObject } from '../inbox/commitment-index.js';
import { acceptedSyntax, type CStoreTarget, connectionOptions } from './c-store-client.js';
import type { DeliveryOutcome } from './outcome.js';

/** An archive may report on the association of the request; it has so long before the association is released. */
const OPEN_MS = 5000;
/** Within which the peer should answer the release. */
const RELEASE_MS = 2000;

export interface CommitmentRequest {
  readonly transactionUid: string;
  readonly objects: readonly SentObject[];
  readonly answer: (report: requests.NEventReportRequest) => responses.NEventReportResponse;
}

/** What dcmjs-dimse keeps to itself. */
interface Network {
  readonly socket: { destroy(): void };
  removeAllListeners(event: 'done'): void;
  sendAssociationReleaseRequest(): void;
}

/** One request and its association, which stays open for a report. */
export class RequestAssociation {
  /** `delivered`: the archive took the request. Never rejects. */
  readonly outcome: Promise<DeliveryOutcome>;
  /** The association has ended. Never rejects. */
  readonly closed: Promise<void>;
  private readonly client = new dimse.Client();
  private readonly dataset: InstanceType<typeof dimse.Dataset>;
  private network: Network | undefined;
  private settle: (outcome: DeliveryOutcome) => void = () => {};
  private end: () => void = () => {};
  private timer: NodeJS.Timeout;

  constructor(target: CStoreTarget, request: CommitmentRequest, signal: AbortSignal) {
    const { host, port, callingAeTitle, calledAeTitle, timeoutMs } = target;
    this.outcome = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.end = resolve;
    });
    this.dataset = new dimse.Dataset({
      TransactionUID: request.transactionUid,
      ReferencedSOPSequence: request.objects.map(({ sopClassUid, sopInstanceUid }) => ({
        ReferencedSOPClassUID: sopClassUid,
        ReferencedSOPInstanceUID: sopInstanceUid,
      })),
    });
    this.timer = setTimeout(() => this.fail('no answer in time'), timeoutMs);
    const onAbort = () => this.fail('the gateway stops');
    signal.addEventListener('abort', onAbort, { once: true });
    void this.closed.then(() => signal.removeEventListener('abort', onAbort));
    this.listen(request);
    this.client.addRequest(this.action());
    this.client.send(host, port, callingAeTitle, calledAeTitle, connectionOptions(target, OPEN_MS));
    this.network = (this.client as unknown as { network?: Network }).network;
    if (signal.aborted) onAbort();
  }

  /** Ends the association; idempotent. */
  release(): void {
    const { network } = this;
    this.network = undefined;
    if (network === undefined) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => network.socket.destroy(), RELEASE_MS);
    network.sendAssociationReleaseRequest();
  }

  private listen({ answer }: CommitmentRequest): void {
    this.client.on('associationAccepted', (accepted: association.Association) => {
      // Else it would be released right after the response.
      this.network?.removeAllListeners('done');
      const syntax = acceptedSyntax(accepted);
      if (syntax === undefined) {
        this.settle({ result: 'rejected', reason: 'the archive offers no storage commitment' });
        this.release();
      } else this.dataset.setTransferSyntaxUid(syntax);
    });
    this.client.on(
      'nEventReportRequest',
      (report: requests.NEventReportRequest, respond: (response: responses.NEventReportResponse) => void) =>
        respond(answer(report)),
    );
    this.client.on('associationRejected', () => this.fail('association rejected'));
    this.client.on('networkError', () => this.fail('connection failed'));
    this.client.on('closed', () => this.fail('connection closed before the status'));
  }

  private action(): requests.NActionRequest {
    const { sopClassUid, sopInstanceUid, requestAction } = STORAGE_COMMITMENT;
    const action = new dimse.requests.NActionRequest(sopClassUid, sopInstanceUid, requestAction);
    action.setDataset(this.dataset);
    action.on('response', (response: responses.NActionResponse) => {
      const status = response.getStatus();
      if (status === 0) {
        this.settle({ result: 'delivered', reason: 'requested' });
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.release(), OPEN_MS);
        return;
      }
      const code = `0x${status.toString(16).padStart(4, '0')}`;
      this.settle({ result: 'rejected', reason: `storage commitment refused with status ${code}` });
      this.release();
    });
    return action;
  }

  /** Closes the connection. What was settled stays as it is. */
  private fail(reason: string): void {
    clearTimeout(this.timer);
    const { network } = this.client as unknown as { network?: Network };
    this.network = undefined;
    network?.socket.destroy();
    this.settle({ result: 'unavailable', reason });
    this.end();
  }
}
