/** Which SOP classes and transfer syntaxes the DICOM port accepts. */
import type { association } from 'dcmjs-dimse';
import { findSyntax } from '../../../../src/dicom/syntaxes.js';

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

const RESULT = { accept: 0, classNotSupported: 3, syntaxesNotSupported: 4 } as const;

/**
 * Answers every presentation context: of an image class the first proposed transfer syntax that can be decoded.
 * @returns how many were accepted
 */
export function answerContexts(association: association.Association): number {
  // The types of dcmjs-dimse say otherwise.
  const contexts = association.getPresentationContexts() as unknown as readonly {
    readonly context: association.PresentationContext;
  }[];
  let accepted = 0;
  for (const { context } of contexts) {
    const abstract = context.getAbstractSyntaxUid();
    // Without an item in the answer the default roles apply; dcmjs-dimse would accept any.
    context.setUserRole(undefined as never);
    context.setProviderRole(undefined as never);
    if (abstract !== VERIFICATION && !IMAGE_CLASSES.has(abstract)) {
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
  return abstract === VERIFICATION ? UNCOMPRESSED.includes(syntaxUid) : findSyntax(syntaxUid) !== undefined;
}
