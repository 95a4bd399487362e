/** Sends one object to an archive by C-STORE (PS3.4 annex B), on an association of its own. */
import type { association as types } from 'dcmjs-dimse';
import { dimse } from '../dicom-port/dimse.js';
import { RESULT } from '../dicom-port/negotiation.js';
import { type DataSet, type Encoding, writeDataSet } from '../results/data-set-writer.js';
import { type DeliveryOutcome, outcomeOfStatus } from './outcome.js';

export interface CStoreTarget {
  readonly host: string;
  readonly port: number;
  readonly calledAeTitle: string;
  readonly callingAeTitle: string;
  /** TLS, with these trusted authorities as PEM. @default plaintext */
  readonly ca?: Uint8Array | undefined;
  readonly timeoutMs: number;
}

const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2';

/** Written in the transfer syntax that the archive chose; dcmjs would rewrite text in another character set. */
class OwnDataset extends dimse.Dataset {
  constructor(private readonly dataSet: DataSet) {
    const uids = { SOPClassUID: dataSet['00080016 UI'], SOPInstanceUID: dataSet['00080018 UI'] };
    super(uids, IMPLICIT_LITTLE_ENDIAN);
  }

  override getDenaturalizedDataset(): Buffer {
    const encoding: Encoding =
      this.getTransferSyntaxUid() === IMPLICIT_LITTLE_ENDIAN ? 'implicit' : 'explicit';
    return writeDataSet(this.dataSet, encoding);
  }
}

/** Never rejects. */
export function storeByCStore(
  target: CStoreTarget,
  dataSet: DataSet,
  signal: AbortSignal,
): Promise<DeliveryOutcome> {
  const { host, port, callingAeTitle, calledAeTitle, timeoutMs } = target;
  const dataset = new OwnDataset(dataSet);
  const request = new dimse.requests.CStoreRequest(dataset);
  const client = new dimse.Client();
  return new Promise((resolve) => {
    let outcome: DeliveryOutcome | undefined;
    const end = (ended: DeliveryOutcome) => {
      if (outcome !== undefined) return;
      outcome = ended;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (ended.reason !== 'stored') destroy();
      resolve(ended);
    };
    const away = (reason: string) => end({ result: 'unavailable', reason });
    const destroy = () =>
      (client as unknown as { network?: { socket: { destroy(): void } } }).network?.socket.destroy();
    const onAbort = () => away('the gateway stops');
    const timer = setTimeout(() => away('no answer in time'), timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    client.on('associationAccepted', (accepted: types.Association) => {
      const syntax = acceptedSyntax(accepted);
      if (syntax === undefined) end({ result: 'rejected', reason: 'it takes no objects of this class' });
      else dataset.setTransferSyntaxUid(syntax);
    });
    client.on('associationRejected', () => away('association rejected'));
    client.on('networkError', () => away('connection failed'));
    client.on('closed', () => away('connection closed before the status'));
    request.on('response', (response: { getStatus(): number }) => {
      const status = response.getStatus();
      end(
        outcomeOfStatus(status, status === 0 ? 'stored' : `status 0x${status.toString(16).padStart(4, '0')}`),
      );
    });
    client.addRequest(request);
    client.send(host, port, callingAeTitle, calledAeTitle, connectionOptions(target));
  });
}

/** @param openMs how long the association may be idle beyond the time limit */
export function connectionOptions({ ca, timeoutMs }: CStoreTarget, openMs = 0) {
  return {
    ...{ connectTimeout: timeoutMs + openMs, associationTimeout: timeoutMs, pduTimeout: timeoutMs + openMs },
    ...(ca === undefined
      ? {}
      : { securityOptions: { ca: Buffer.from(ca), rejectUnauthorized: true, minVersion: 'TLSv1.2' } }),
  };
}

/** The transfer syntax of the first presentation context that was accepted; undefined where none was. */
export function acceptedSyntax(accepted: types.Association): string | undefined {
  const contexts = accepted.getPresentationContexts() as unknown as readonly {
    readonly context: types.PresentationContext;
  }[];
  return contexts
    .filter(({ context }) => context.getResult() === RESULT.accept)
    .map(({ context }) => context.getAcceptedTransferSyntaxUid())
    .find((uid) => uid !== undefined);
}
