/**
 * One association: checks who calls, answers C-ECHO, keeps what C-STORE sends, hands over what archives report about
 * storage commitment, refuses everything else.
 */
import type { Socket } from 'node:net';
import type { association, requests, responses } from 'dcmjs-dimse';
import type { SaladError } from '../../../../src/errors/index.js';
import { isUid } from '../inbox/file-head.js';
import type { Inbox } from '../inbox/inbox.js';
import { type Caller, findCaller } from './callers.js';
import { answerReport, type ReportReceiver, STORAGE_COMMITMENT } from './commitment-report.js';
import { dimse, REJECTION, STATUS } from './dimse.js';
import { InstanceSink, type StoreOutcome } from './instance-sink.js';
import { answerContexts, IMAGE_CLASSES, type PeerRights, RESULT } from './negotiation.js';
import { PduChannel } from './pdu-channel.js';

const COMMAND_STORE_RQ = 0x0001;
const COMMAND_EVENT_REPORT_RQ = 0x0100;
/** The objects of one instance take less than 2 KiB. */
const REPORT_BYTES_MAX = 64 * 1024;
const PRIORITY_HIGH = 1;
/** Within which the peer should close after its association has ended. */
const CLOSE_MS = 2000;

export interface AssociationOptions {
  readonly inbox: Inbox;
  /** Application entity title of this program; undefined accepts any called title. */
  readonly aeTitle: string | undefined;
  readonly callers: readonly Caller[];
  /** Takes the reports of archives, which may call for these, too. @default nobody reports */
  readonly reports?: ReportReceiver | undefined;
  readonly pduBytesMax: number;
  /** From the connection to the end of the association request. */
  readonly associationMs: number;
  /** Between operations: a modality may keep an association for hours. */
  readonly idleMs: number;
  /** Between two packets of one operation. */
  readonly dataMs: number;
  /** Whether another association is too many. */
  readonly isFull: () => boolean;
  readonly events: AssociationEvents;
}

export interface AssociationEvents {
  refused(reason: 'calledAeTitle' | 'callingAeTitle' | 'localLimit'): void;
  accepted(caller: Caller): void;
  /** @param reason of the port itself: no text of the peer */
  aborted(reason: string): void;
  stored(outcome: StoreOutcome, milliseconds: number): void;
  failed(error: SaladError): void;
}

export class StoreAssociation extends dimse.Scp {
  private readonly channel: PduChannel;
  private caller: Caller | undefined;
  private rights: PeerRights = { sends: false, reports: false };
  private sink: InstanceSink | undefined;
  private outcome: StoreOutcome | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isEnding = false;

  constructor(
    private readonly connection: Socket,
    private readonly options: AssociationOptions,
  ) {
    const channel = new PduChannel(connection, options, () => this.dataBytesMax);
    super(channel as unknown as Socket);
    this.channel = channel;
    channel.on('violation', (reason: string) => this.abortWith(reason));
    // After dcmjs-dimse has taken the PDU.
    channel.on('data', () => this.taken());
    connection.on('data', () => this.watch());
    this.on('networkError', () => this.abortWith('a message that cannot be read'));
    this.on('close', () => this.closed());
    this.timer = setTimeout(() => this.abortWith('no association in time'), options.associationMs);
  }

  get isAssociated(): boolean {
    return this.caller !== undefined && !this.isEnding;
  }

  /** Whether an operation is under way. */
  get isBusy(): boolean {
    return this.dataBytesMax > 0 || this.channel.isHeld || this.channel.isWithinPdu;
  }

  /** Ends the association as soon as no operation is under way. */
  drain(): void {
    if (!this.isBusy) this.abortWith('the gateway stops');
  }

  override associationRequested(requested: association.Association): void {
    const caller = this.admit(requested);
    if (caller === undefined) return;
    this.caller = caller;
    // One operation at a time: without an item in the answer the default applies.
    requested.setNegotiateAsyncOps(false);
    answerContexts(requested, this.rights);
    // What this side receives. dcmjs-dimse would answer the peer's own bound, or 0 for unlimited.
    requested.setMaxPduLength(this.options.pduBytesMax);
    this.options.events.accepted(caller);
    this.sendAssociationAccept();
    this.watch();
  }

  override associationReleaseRequested(): void {
    this.sendAssociationReleaseResponse();
    this.finish();
  }

  override cEchoRequest(
    request: requests.CEchoRequest,
    callback: (response: responses.CEchoResponse) => void,
  ): void {
    const response = dimse.responses.CEchoResponse.fromRequest(request);
    response.setStatus(STATUS.success);
    callback(response);
    this.forgetCommand();
  }

  override nEventReportRequest(
    request: requests.NEventReportRequest,
    callback: (response: responses.NEventReportResponse) => void,
  ): void {
    const { reports } = this.options;
    const isAllowed =
      this.rights.reports && request.getAffectedSopClassUid() === STORAGE_COMMITMENT.sopClassUid;
    if (reports === undefined || !isAllowed) this.refuseOperation();
    else callback(answerReport(request, reports, this.caller!.aeTitle));
    this.forgetCommand();
  }

  override createStoreWritableStream(
    context: association.PresentationContext,
    request: requests.CStoreRequest,
  ): InstanceSink {
    const [sopClassUid, sopInstanceUid] = [
      request.getAffectedSopClassUid(),
      request.getAffectedSopInstanceUid(),
    ];
    const priority = request.getPriority() === PRIORITY_HIGH ? 'stat' : this.caller!.priority;
    this.sink = new InstanceSink({
      inbox: this.options.inbox,
      instance: {
        sopClassUid,
        sopInstanceUid,
        syntaxUid: context.getAcceptedTransferSyntaxUid()!,
        priority,
      },
      refusal: refusalOf(sopClassUid, sopInstanceUid, context),
      onFull: (isFull) => (isFull ? this.channel.hold('disk') : this.channel.release('disk')),
    });
    return this.sink;
  }

  override createDatasetFromStoreWritableStream(
    sink: InstanceSink,
    _context: association.PresentationContext,
    callback: (dataset: never) => void,
  ): void {
    const began = performance.now();
    this.channel.hold('response');
    void sink.outcome().then((outcome) => {
      this.outcome = outcome;
      this.sink = undefined;
      if (outcome.error !== undefined) this.options.events.failed(outcome.error);
      this.options.events.stored(outcome, performance.now() - began);
      // Sends the response, by `cStoreRequest`.
      callback(undefined as never);
      this.channel.release('response');
      this.watch();
    });
  }

  override cStoreRequest(
    request: requests.CStoreRequest,
    callback: (response: responses.CStoreResponse) => void,
  ): void {
    const response = dimse.responses.CStoreResponse.fromRequest(request);
    response.setStatus(this.outcome?.status ?? STATUS.processingFailure);
    this.outcome = undefined;
    callback(response);
  }

  override abort(): void {
    this.options.events.aborted('the peer aborted');
    this.finish();
  }

  override cFindRequest = () => this.refuseOperation();
  override cMoveRequest = () => this.refuseOperation();
  override cGetRequest = () => this.refuseOperation();
  override cCancelRequest = () => this.refuseOperation();
  override nCreateRequest = () => this.refuseOperation();
  override nActionRequest = () => this.refuseOperation();
  override nDeleteRequest = () => this.refuseOperation();
  override nGetRequest = () => this.refuseOperation();
  override nSetRequest = () => this.refuseOperation();

  /** @returns undefined where the association was refused */
  private admit(requested: association.Association): Caller | undefined {
    const { aeTitle, callers, reports: receiver, isFull, events } = this.options;
    const [calling, called] = [requested.getCallingAeTitle(), requested.getCalledAeTitle()];
    const known = findCaller(callers, calling, this.connection.remoteAddress);
    const sends = known !== undefined && (aeTitle === undefined || called === aeTitle);
    const reports = receiver?.isArchive(calling, called) ?? false;
    this.rights = { sends, reports };
    const isCalled = aeTitle === undefined || called === aeTitle || reports;
    // An archive that may only report sends no instances that have a priority.
    const caller = known ?? (reports ? ({ aeTitle: calling, priority: 'routine' } as const) : undefined);
    const refusal = !isCalled ? 'calledAeTitle' : caller === undefined ? 'callingAeTitle' : 'localLimit';
    if (isCalled && caller !== undefined && !isFull()) return caller;
    events.refused(refusal);
    this.sendAssociationReject(...REJECTION[refusal]);
    this.finish();
    return undefined;
  }

  /** Of the data set whose command was read; 0 where none is expected. */
  private get dataBytesMax(): number {
    const { dimse: command } = this as unknown as { dimse?: { getCommandFieldType(): number } };
    const type = command?.getCommandFieldType();
    if (type === COMMAND_STORE_RQ) return Number.POSITIVE_INFINITY;
    return type === COMMAND_EVENT_REPORT_RQ && this.rights.reports ? REPORT_BYTES_MAX : 0;
  }

  /** Call after an operation without a data set: dcmjs-dimse would add the next command to the bytes of this one. */
  private forgetCommand(): void {
    (this as unknown as { dimseStream: unknown }).dimseStream = undefined;
  }

  /** A command of another kind, or one that could not be read, would wait for its data set for ever. */
  private taken(): void {
    const { dimse: command } = this as unknown as { dimse?: object };
    if (command !== undefined && this.dataBytesMax === 0) this.abortWith('a message that cannot be read');
    else this.watch();
  }

  private refuseOperation(): void {
    this.abortWith('an operation other than C-ECHO and C-STORE');
  }

  /** Restarts the time limit of what is awaited now. */
  private watch(): void {
    clearTimeout(this.timer);
    if (this.isEnding) return;
    const { associationMs, idleMs, dataMs } = this.options;
    const isData = this.channel.isWithinPdu || this.dataBytesMax > 0;
    const [limitMs, reason] =
      this.caller === undefined
        ? [associationMs, 'no association in time']
        : isData
          ? [dataMs, 'a transfer that stopped']
          : [idleMs, 'no operation for too long'];
    this.timer = setTimeout(() => {
      // The time that this side takes does not count.
      if (this.channel.isHeld) this.watch();
      else this.abortWith(reason);
    }, limitMs);
  }

  private abortWith(reason: string): void {
    if (this.isEnding) return;
    this.options.events.aborted(reason);
    this.sendAbort();
    this.finish();
  }

  private finish(): void {
    this.isEnding = true;
    clearTimeout(this.timer);
    this.channel.finish(CLOSE_MS);
  }

  private closed(): void {
    this.isEnding = true;
    clearTimeout(this.timer);
    // A data set that has ended is kept even where the answer cannot be sent any more.
    if (this.sink !== undefined && !this.sink.writableEnded) this.sink.destroy();
  }
}

function refusalOf(
  sopClassUid: string,
  sopInstanceUid: string,
  context: association.PresentationContext,
): number | undefined {
  const isAccepted = context.getResult() === RESULT.accept && IMAGE_CLASSES.has(sopClassUid);
  if (!isAccepted || sopClassUid !== context.getAbstractSyntaxUid()) return STATUS.sopClassNotSupported;
  return typeof sopInstanceUid === 'string' && isUid(sopInstanceUid)
    ? undefined
    : STATUS.invalidObjectInstance;
}
