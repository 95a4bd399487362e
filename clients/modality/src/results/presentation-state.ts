/**
 * The regions of the report as a Grayscale Softcopy Presentation State (PS3.3 A.33.1): viewers draw them over the image,
 * which they show with the grey scale that the model got.
 */
import type { PixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import type { FrameResult, InstanceResult } from '../scoring/score-instance.js';
import type { DataSet } from './data-set-writer.js';
import { pixelSpacingOf } from './plane.js';
import { cornersOf, regionsOf } from './regions.js';
import {
  commonElements,
  ownUids,
  RESEARCH_USE,
  type ResultObject,
  referencedSeries,
  referenceTo,
  resultObject,
} from './result-object.js';
import type { SourceHeader } from './source-header.js';

const GRAYSCALE_SOFTCOPY = '1.2.840.10008.5.1.4.1.1.11.1';
const LAYER = 'REGIONS';
const VOI_FUNCTIONS = { linear: 'LINEAR', linearExact: 'LINEAR_EXACT', sigmoid: 'SIGMOID' } as const;

/**
 * The same source and result give the same bytes.
 * @param format of the first frame
 * @returns undefined where no frame differs from normal images
 */
export function buildPresentationState(
  source: SourceHeader,
  result: InstanceResult,
  format: PixelFormat,
): ResultObject | undefined {
  const shown = result.frames.filter((frame) => regionsOf(frame).length > 0);
  if (shown.length === 0) return undefined;
  const isMultiFrame = result.frames.length > 1;
  const identity = { kind: 'presentationState', sopClassUid: GRAYSCALE_SOFTCOPY, modality: 'PR' } as const;
  const common = commonElements(source, result, identity, ownUids(source, result));
  return resultObject({
    ...common,
    ...referencedSeries(source, '00081140 SQ'),
    '00200060 CS': '',
    '00700001 SQ': shown.map((frame) => annotationOf(source, frame, isMultiFrame)),
    '0070005A SQ': [displayedArea(source, result)],
    '00700060 SQ': [{ '00700002 CS': LAYER, '00700062 IS': '1', '00700068 LO': RESEARCH_USE.slice(0, 64) }],
    '00700080 CS': 'REGIONS',
    '00700081 LO': 'Regions that differ from normal images',
    '00700082 DA': common['00080023 DA']!,
    '00700083 TM': common['00080033 TM']!,
    '00700084 PN': '',
    ...modalityOf(format),
    ...voiOf(format),
    '20500020 CS': format.monochrome1 ? 'INVERSE' : 'IDENTITY',
  });
}

function annotationOf(source: SourceHeader, frame: FrameResult, isMultiFrame: boolean): DataSet {
  return {
    '00081140 SQ': [referenceTo(source, isMultiFrame ? frame.frame : undefined)],
    '00700002 CS': LAYER,
    '00700008 SQ': [
      {
        '00700003 CS': 'DISPLAY',
        '00700006 ST': RESEARCH_USE,
        '00700010 FL': [0.01, 0.94],
        '00700011 FL': [0.99, 0.99],
        '00700012 CS': 'LEFT',
      },
    ],
    '00700009 SQ': regionsOf(frame).map(({ box }) => ({
      '00700005 CS': 'PIXEL',
      '00700020 US': [2],
      '00700021 US': [5],
      '00700022 FL': cornersOf(box).flat(),
      '00700023 CS': 'POLYLINE',
      '00700024 CS': 'N',
    })),
  };
}

function displayedArea(source: SourceHeader, { rows, columns }: InstanceResult): DataSet {
  return {
    '00700052 SL': [1, 1],
    '00700053 SL': [columns, rows],
    '00700100 CS': 'SCALE TO FIT',
    '00700101 DS': pixelSpacingOf(source, 1),
  };
}

/** The presentation state replaces the modality transformation of the image, so it must repeat it. */
function modalityOf({ modalityLut, rescaleSlope, rescaleIntercept }: PixelFormat): DataSet {
  if (modalityLut !== undefined) {
    const entries = Uint16Array.from(modalityLut.entries);
    const table = tableOf(modalityLut.firstValue, entries, entries.some((entry) => entry > 0xff) ? 16 : 8);
    return { '00283000 SQ': [{ ...table, '00283004 LO': 'US' }] };
  }
  if (rescaleSlope === 1 && rescaleIntercept === 0) return {};
  return {
    '00281052 DS': decimalOf(rescaleIntercept),
    '00281053 DS': decimalOf(rescaleSlope),
    '00281054 LO': 'US',
  };
}

/** None where the model takes its window from the values of the image. */
function voiOf({ voi }: PixelFormat): DataSet {
  if (voi.kind === 'window') {
    const item = {
      '00281050 DS': decimalOf(voi.center),
      '00281051 DS': decimalOf(voi.width),
      '00281056 CS': VOI_FUNCTIONS[voi.function],
    };
    return { '00283110 SQ': [item] };
  }
  if (voi.kind !== 'lut') return {};
  // The largest entry is white: the entries of other tables than those of 16 bits are scaled.
  const scale = (2 ** 16 - 1) / (2 ** voi.bitsPerEntry - 1);
  const entries = Uint16Array.from(voi.entries, (entry) => Math.round(scale * entry));
  return { '00283110 SQ': [{ '00283010 SQ': [tableOf(voi.firstValue, entries, 16)] }] };
}

/** The standard allows 8 bits an entry, without gaps, and 16. */
function tableOf(firstValue: number, entries: Uint16Array, bitsPerEntry: 8 | 16): DataSet {
  const descriptor = firstValue < 0 ? '00283002 SS' : '00283002 US';
  return {
    // 65,536 does not fit into 16 bits and is written as 0.
    [descriptor]: [entries.length % 65_536, firstValue, bitsPerEntry],
    '00283006 OW': bitsPerEntry === 8 ? Uint8Array.from(entries) : new Uint8Array(entries.buffer),
  };
}

/** A decimal string has at most 16 characters. */
function decimalOf(value: number): string {
  return String(Number(value.toPrecision(9)));
}
