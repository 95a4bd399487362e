/** What the answer to a STOW-RS request says about the object that was sent (PS3.18 section 10.5.3). */

export interface StowAnswer {
  /** The Referenced SOP Sequence names the object; also where it has a warning. */
  readonly isStored: boolean;
  /** Failure Reason (0008,1197) of the Failed SOP Sequence; 0 where it has none; undefined where nothing failed. */
  readonly failure: number | undefined;
}

const FAILED_SEQUENCE = '00081198';
const REFERENCED_SEQUENCE = '00081199';
const FAILURE_REASON = '00081197';
const SOP_INSTANCE_UID = '00081155';
const SAYS_NOTHING: StowAnswer = { isStored: false, failure: undefined };

/**
 * Reads the DICOM JSON model, and the XML of archives that send it whatever they are asked for. Anything else, such as
 * the login page of a proxy, says nothing about the object.
 */
export function readStowAnswer(body: string, sopInstanceUid: string): StowAnswer {
  try {
    return body.trimStart().startsWith('<') ? ofXml(body, sopInstanceUid) : ofJson(body, sopInstanceUid);
  } catch {
    return SAYS_NOTHING;
  }
}

/** An item of a sequence, or the answer itself. */
type Item = Readonly<Record<string, { readonly Value?: readonly unknown[] } | undefined>>;

function ofJson(body: string, sopInstanceUid: string): StowAnswer {
  const [answer] = [JSON.parse(body)].flat() as Item[];
  const itemsOf = (sequence: string) => (answer?.[sequence]?.Value ?? []) as readonly Item[];
  // One object was sent: a failed item is about it, also without a UID.
  const [failed] = itemsOf(FAILED_SEQUENCE);
  const reason = failed?.[FAILURE_REASON]?.Value?.[0];
  return {
    isStored: itemsOf(REFERENCED_SEQUENCE).some(
      (item) => item[SOP_INSTANCE_UID]?.Value?.[0] === sopInstanceUid,
    ),
    failure: failed === undefined ? undefined : typeof reason === 'number' ? reason : 0,
  };
}

/** Native DICOM Model (PS3.19 annex A.1): no other sequence of the answer lies within these. */
function ofXml(body: string, sopInstanceUid: string): StowAnswer {
  const sequences = body.split(/\btag\s*=\s*["'](?=0008119[89A]["'])/i);
  const textOf = (sequence: string) => sequences.find((each) => each.startsWith(sequence)) ?? '';
  const failed = textOf(FAILED_SEQUENCE);
  const reason = /\btag\s*=\s*["']00081197["'][^>]*>\s*<[^>]*>\s*(\d+)/.exec(failed)?.[1];
  return {
    isStored: textOf(REFERENCED_SEQUENCE)
      .split(/[<>]/)
      .some((text) => text.trim() === sopInstanceUid),
    failure: /<(\w+:)?Item\b/.test(failed) ? Number(reason ?? 0) : undefined,
  };
}
