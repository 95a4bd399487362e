/** An archive that takes C-STOREs and answers requests for storage commitment as a test wants, made of dcmjs-dimse. */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server } from 'node:net';
import type { association, requests, responses } from 'dcmjs-dimse';
import { STORAGE_COMMITMENT } from '../../../clients/modality/src/dicom-port/commitment-report.js';
import { dimse } from '../../../clients/modality/src/dicom-port/dimse.js';

const NO_SUCH_INSTANCE = 0x0112;

/** What the archive does with one request: `status` refuses it with a status, `none` never reports. */
export type CommitmentAnswer =
  | { readonly how: 'status'; readonly status: number }
  | { readonly how: 'none' }
  | { readonly how: 'sameAssociation'; readonly failed?: boolean };

export interface CommitmentRequestSeen {
  readonly transactionUid: string;
  readonly sopClassUids: readonly string[];
  readonly sopInstanceUids: readonly string[];
}

export class CommittingArchive {
  /** SOP Instance UIDs of all C-STOREs, in order. */
  readonly stored: string[] = [];
  /** Status of the answer to the C-STORE of an object. */
  storeStatusOf: (sopInstanceUid: string) => number = () => 0;
  readonly requests: CommitmentRequestSeen[] = [];
  /** Statuses of the answers to reports. */
  readonly reported: number[] = [];
  /** For the next requests, in order. @default on the same association: all committed */
  readonly answers: CommitmentAnswer[] = [];
  /** Whether it accepts the SOP class of storage commitment. */
  offersCommitment = true;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      new ArchiveAssociation(socket, this);
    });
  }

  static async listen(): Promise<CommittingArchive> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new CommittingArchive(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }

  /** Reports on a new association. @returns the status of the answer; undefined where the association was refused */
  async report(
    port: number,
    transactionUid: string,
    committed: readonly string[],
    titles: readonly [calling: string, called: string] = ['PACS', 'SALAD'],
  ): Promise<number | undefined> {
    const client = new dimse.Client();
    const request = reportRequest(transactionUid, committed, []);
    let status: number | undefined;
    request.on('response', (response: responses.NEventReportResponse) => {
      status = response.getStatus();
    });
    client.on('associationRejected', () => {});
    client.on('networkError', () => {});
    client.addRequest(request);
    const closed = new Promise<void>((done) => client.on('closed', () => done()));
    client.send('127.0.0.1', port, ...titles);
    await closed;
    return status;
  }
}

class ArchiveAssociation extends dimse.Scp {
  constructor(
    socket: Socket,
    private readonly archive: CommittingArchive,
  ) {
    super(socket);
    socket.on('error', () => {});
    this.on('networkError', () => {});
  }

  override associationRequested(requested: association.Association): void {
    const contexts = requested.getPresentationContexts() as unknown as readonly {
      readonly context: association.PresentationContext;
    }[];
    for (const { context } of contexts) {
      const isRefused =
        context.getAbstractSyntaxUid() === STORAGE_COMMITMENT.sopClassUid && !this.archive.offersCommitment;
      if (isRefused) context.setResult(3);
      else context.setResult(0, context.getTransferSyntaxUids()[0]!);
    }
    this.sendAssociationAccept();
  }

  override associationReleaseRequested(): void {
    this.sendAssociationReleaseResponse();
  }

  override abort(): void {}

  override cStoreRequest(
    request: requests.CStoreRequest,
    callback: (response: responses.CStoreResponse) => void,
  ): void {
    const sopInstanceUid = request.getAffectedSopInstanceUid();
    this.archive.stored.push(sopInstanceUid);
    const response = dimse.responses.CStoreResponse.fromRequest(request);
    response.setStatus(this.archive.storeStatusOf(sopInstanceUid));
    callback(response);
  }

  override nActionRequest(
    request: requests.NActionRequest,
    callback: (response: responses.NActionResponse) => void,
  ): void {
    const answer = this.archive.answers.shift() ?? { how: 'sameAssociation' };
    const seen = seenIn(request);
    this.archive.requests.push(seen);
    const response = dimse.responses.NActionResponse.fromRequest(request);
    response.setStatus(answer.how === 'status' ? answer.status : 0);
    callback(response);
    if (answer.how !== 'sameAssociation') return;
    const { sopInstanceUids } = seen;
    const report =
      answer.failed === true
        ? reportRequest(seen.transactionUid, sopInstanceUids.slice(1), sopInstanceUids.slice(0, 1))
        : reportRequest(seen.transactionUid, sopInstanceUids, []);
    report.on('response', (answered: responses.NEventReportResponse) => {
      this.archive.reported.push(answered.getStatus());
    });
    this.sendRequests(report);
  }
}

function seenIn(request: requests.NActionRequest): CommitmentRequestSeen {
  const elements = request.getDataset()!.getElements() as {
    readonly TransactionUID: string;
    readonly ReferencedSOPSequence: readonly {
      readonly ReferencedSOPClassUID: string;
      readonly ReferencedSOPInstanceUID: string;
    }[];
  };
  const items = [...elements.ReferencedSOPSequence];
  return {
    transactionUid: elements.TransactionUID,
    sopClassUids: items.map((item) => item.ReferencedSOPClassUID),
    sopInstanceUids: items.map((item) => item.ReferencedSOPInstanceUID),
  };
}

/** Event type 1: all are committed; 2: there are failures (PS3.4 table J.3-2). */
function reportRequest(
  transactionUid: string,
  committed: readonly string[],
  failed: readonly string[],
): requests.NEventReportRequest {
  const { sopClassUid, sopInstanceUid } = STORAGE_COMMITMENT;
  const request = new dimse.requests.NEventReportRequest(
    ...([sopClassUid, sopInstanceUid, failed.length > 0 ? 2 : 1] as const),
  );
  const reference = (uid: string) => ({
    ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.88.33',
    ReferencedSOPInstanceUID: uid,
  });
  request.setDataset(
    new dimse.Dataset({
      TransactionUID: transactionUid,
      ReferencedSOPSequence: committed.map(reference),
      ...(failed.length === 0
        ? {}
        : {
            FailedSOPSequence: failed.map((uid) => ({ ...reference(uid), FailureReason: NO_SUCH_INSTANCE })),
          }),
    }),
  );
  return request;
}
