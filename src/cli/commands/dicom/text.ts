/** Formats `salad dicom info` as human-readable text: one line for each fact that affects the score. */
import type { infoJson } from './info.js';

type Info = ReturnType<typeof infoJson>;

const NAME_WIDTH = 18;

/** Lines after the name of the file, with a line end before each. */
export function dicomText(info: Info): string {
  const lines: (readonly [string, string])[] = [
    [
      'transfer syntax',
      info.syntax === null ? (info.syntaxUid ?? 'unknown') : `${info.syntax} (${info.syntaxUid})`,
    ],
    ...(info.rows === null ? [] : [['image', imageText(info)] as const]),
    ...(info.photometric === null ? [] : [['photometric', photometricText(info)] as const]),
    ...(info.voi === null ? [] : greyScaleLines(info)),
    ...placeLines(info),
    ...info.notes.map((note) => ['note', note] as const),
    ...info.reasons.map((reason) => ['not scored', reason] as const),
  ];
  const verdict = info.scorable ? 'can be scored' : 'cannot be scored';
  return `: ${verdict}${lines.map(([name, text]) => `\n  ${name.padEnd(NAME_WIDTH)}${text}`).join('')}`;
}

function imageText({ rows, columns, frames, bitsStored, bitsAllocated, isSigned, modality }: Info): string {
  const sign = isSigned ? 'signed' : 'unsigned';
  const kind = modality === null ? '' : `, modality ${modality}`;
  const count = `${frames} ${frames === 1 ? 'frame' : 'frames'}`;
  return `${rows} rows, ${columns} columns, ${count}, ${bitsStored} of ${bitsAllocated} bits, ${sign}${kind}`;
}

function photometricText({ photometric, lowIsWhite }: Info): string {
  return lowIsWhite === null
    ? String(photometric)
    : `${photometric}, low values are ${lowIsWhite ? 'white' : 'black'}`;
}

function greyScaleLines(info: Info): (readonly [string, string])[] {
  const { modalityLut, rescale, padding } = info;
  const rescaled =
    rescale !== null && (rescale.slope !== 1 || rescale.intercept !== 0)
      ? `slope ${rescale.slope}, intercept ${rescale.intercept}`
      : 'as they are';
  return [
    ['stored values', modalityLut === null ? rescaled : tableText(modalityLut)],
    ['window', voiText(info)],
    ...(padding === null ? [] : [['padding', `${padding.first} to ${padding.last}`] as const]),
  ];
}

function voiText({ voi, window, lut, windows, luts }: Info): string {
  if (window !== null) {
    return `center ${window.center}, width ${window.width}, ${window.function} (1 of ${windows})`;
  }
  if (lut !== null) return `VOI ${tableText(lut)} (1 of ${luts})`;
  return voi === 'auto'
    ? 'none: percentiles 1 to 99 of the image'
    : 'none: the full range of the stored values';
}

function tableText({
  entries,
  firstValue,
  bitsPerEntry,
}: {
  entries: number;
  firstValue: number;
  bitsPerEntry: number;
}) {
  return `LUT of ${entries} entries from ${firstValue}, ${bitsPerEntry} bits each`;
}

function placeLines({ spacingMm, aspectRatio, orientation, laterality, view, ...rest }: Info) {
  const all: (readonly [string, string | null])[] = [
    ['spacing', spacingMm === null ? null : `${spacingMm[0]} x ${spacingMm[1]} mm`],
    ['aspect ratio', aspectRatio === null || aspectRatio === 1 ? null : aspectRatio.toPrecision(4)],
    ['orientation', orientation],
    ['laterality', laterality],
    ['view', view],
    ['SOP Instance UID', rest.sopInstanceUid ?? null],
  ];
  return all.flatMap(([name, text]) => (text === null ? [] : [[name, text] as const]));
}
