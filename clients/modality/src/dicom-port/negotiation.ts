/** Which SOP classes and transfer syntaxes the DICOM port accepts. */
import type { association } from 'dcmjs-dimse';
import { findSyntax } from '../../../../src/dicom/syntaxes.js';
import { STORAGE_COMMITMENT } from './commitment-report.js';

const VERIFICATION = '1.2.840.10008.1.1';
const UNCOMPRESSED = ['1.2.840.10008.1.2.1', '1.2.840.10008.1.2'];

/** Images of one projection, which can be scored (PS3.4 annex B.5). */
export const IMAGE_CLASSES: ReadonlySet<string> = new Set([
  '1.2.840.10008.5.1.4.1.1.1', // Computed Radiography
  '1.2.840.10008.5.1.4.1.1.1.1', // Digital X-Ray, for presentation
  '1.2.840.10008.5.1.4.1.1.1.1.1', // for processing
  '1.2.840.10008.5.1.4.1.1.1.2', // Digital Mammography X-Ray, for presentation
  '1.2.840.10008.5.1.4.1.1.1.2.1',
  '1.2.840.10008.5.1.4.1.1.1.3', // Digital Intra-Oral X-Ray, for presentation
  '1.2.840.10008.5.1.4.1.1.1.3.1',
  '1.2.840.10008.5.1.4.1.1.7', // Secondary Capture
  '1.2.840.10008.5.1.4.1.1.7.2', // Multi-frame Grayscale Byte Secondary Capture
  '1.2.840.10008.5.1.4.1.1.7.3', // Multi-frame Grayscale Word Secondary Capture
  '1.2.840.10008.5.1.4.1.1.12.1', // X-Ray Angiographic
  '1.2.840.10008.5.1.4.1.1.12.1.1', // Enhanced XA
  '1.2.840.10008.5.1.4.1.1.12.2', // X-Ray Radiofluoroscopic
  '1.2.840.10008.5.1.4.1.1.12.2.1', // Enhanced XRF
  '1.2.840.10008.5.1.4.1.1.481.1', // RT Image
]);

export const RESULT = { accept: 0, classNotSupported: 3, syntaxesNotSupported: 4 } as const;

/** What a peer may do. */
export interface PeerRights {
  /** C-ECHO and C-STORE. */
  readonly sends: boolean;
  /** N-EVENT-REPORT of storage commitment. */
  readonly reports: boolean;
}

/**
 * Answers every presentation context: of an image class the first proposed transfer syntax that can be decoded.
 * @returns how many were accepted
 */
export function answerContexts(association: association.Association, rights: PeerRights): number {
  // The types of dcmjs-dimse say otherwise.
  const contexts = association.getPresentationContexts() as unknown as readonly {
    readonly context: association.PresentationContext;
  }[];
  let accepted = 0;
  for (const { context } of contexts) {
    const abstract = context.getAbstractSyntaxUid();
    // Without an item in the answer the default roles apply; dcmjs-dimse would accept any.
    const isProvider = context.getProviderRole();
    context.setUserRole(undefined as never);
    context.setProviderRole(undefined as never);
    const isReport = rights.reports && abstract === STORAGE_COMMITMENT.sopClassUid;
    if (isReport && isProvider) {
      // It opens the association as the provider (PS3.4 J.3.3): the roles are those that it proposes.
      context.setUserRole(false);
      context.setProviderRole(true);
    }
    const isSending = rights.sends && (abstract === VERIFICATION || IMAGE_CLASSES.has(abstract));
    if (!isReport && !isSending) {
      context.setResult(RESULT.classNotSupported);
      continue;
    }
    const syntax = context.getTransferSyntaxUids().find((uid) => isAccepted(abstract, uid));
    if (syntax === undefined) context.setResult(RESULT.syntaxesNotSupported);
    else {
      context.setResult(RESULT.accept, syntax);
      accepted += 1;
    }
  }
  return accepted;
}

function isAccepted(abstract: string, syntaxUid: string): boolean {
  return IMAGE_CLASSES.has(abstract) ? findSyntax(syntaxUid) !== undefined : UNCOMPRESSED.includes(syntaxUid);
}
