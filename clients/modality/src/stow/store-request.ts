/** One STOW-RS request (DICOM PS3.18 section 10.5): every part an instance, each with its own outcome. */
import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import type { Kept } from '../inbox/incoming.js';
import type { InstanceIdentity, Priority } from '../inbox/instance.js';
import { Part10Receiver } from '../inbox/part10-receiver.js';
import { readMultipart } from './multipart.js';

export interface StoredPart {
  /** Undefined where the part could not be read that far. */
  readonly identity: InstanceIdentity | undefined;
  readonly kept: Kept | undefined;
  readonly error: SaladError | undefined;
}

/** Failure reasons (PS3.18 section 10.5.3, PS3.4 table B.2-1). */
const FAILURE = { outOfResources: 0xa700, duplicate: 0x0111, cannotUnderstand: 0xc000, processing: 0x0110 };

/**
 * Receives all parts; a failed one does not affect the others.
 * @throws SaladError MESSAGE_INVALID where the body is malformed; what was complete before is kept
 */
export async function storeParts(
  inbox: Inbox,
  body: AsyncIterable<Uint8Array>,
  boundary: string,
  priority: Priority,
  take: (part: StoredPart) => void,
): Promise<void> {
  let receiver: Part10Receiver | undefined;
  let error: SaladError | undefined;
  const attempt = async (work: () => Promise<unknown>) => {
    if (error !== undefined) return;
    try {
      await work();
    } catch (thrown) {
      error = SaladError.from(thrown);
      await receiver?.discard();
    }
  };
  try {
    for await (const event of readMultipart(body, boundary)) {
      if (event.type === 'part') {
        receiver = new Part10Receiver(inbox, priority);
        error = wrongType(event.headers.get('content-type'));
      } else if (event.type === 'data') {
        await attempt(() => receiver!.write(event.bytes));
      } else {
        let kept: StoredPart['kept'];
        await attempt(async () => {
          kept = await receiver!.keep();
        });
        take({ identity: receiver!.identity, kept, error });
        receiver = undefined;
      }
    }
  } finally {
    await receiver?.discard();
  }
}

function wrongType(contentType: string | undefined): SaladError | undefined {
  if (contentType === undefined || /^application\/dicom\s*(;|$)/i.test(contentType)) return undefined;
  return new SaladError('DICOM_UNSUPPORTED', 'a part is not application/dicom');
}

/** The Store Instances Response Module in the DICOM JSON model, and the status of the response. */
export function responseOf(parts: readonly StoredPart[]): { readonly status: number; readonly body: object } {
  const kept = parts.filter((part) => part.kept !== undefined);
  const failed = parts.filter((part) => part.kept === undefined);
  const isFull = failed.some(({ error }) => error?.reason === 'STORAGE_FULL');
  const status = failed.length === 0 ? 200 : kept.length > 0 ? 202 : isFull ? 507 : 409;
  const sequence = (items: readonly object[]) => ({ vr: 'SQ', Value: items });
  return {
    status: parts.length === 0 ? 400 : status,
    body: {
      ...(kept.length === 0 ? {} : { '00081199': sequence(kept.map(({ identity }) => reference(identity))) }),
      ...(failed.length === 0
        ? {}
        : {
            '00081198': sequence(
              failed.map(({ identity, error }) => ({
                ...reference(identity),
                '00081197': { vr: 'US', Value: [failureReason(error)] },
              })),
            ),
          }),
    },
  };
}

function reference(identity: InstanceIdentity | undefined): object {
  if (identity === undefined) return {};
  return {
    '00081150': { vr: 'UI', Value: [identity.sopClassUid] },
    '00081155': { vr: 'UI', Value: [identity.sopInstanceUid] },
  };
}

function failureReason(error: SaladError | undefined): number {
  switch (error?.reason) {
    case 'STORAGE_FULL':
    case 'MESSAGE_TOO_LARGE':
      return FAILURE.outOfResources;
    case 'INSTANCE_CONFLICT':
      return FAILURE.duplicate;
    case 'IMAGE_UNREADABLE':
    case 'DICOM_UNSUPPORTED':
      return FAILURE.cannotUnderstand;
    default:
      return FAILURE.processing;
  }
}
