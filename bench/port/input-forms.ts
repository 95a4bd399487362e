/** The forms in which an image can be sent to the port, each with the encoded requests of one image. */
import { ScoreImageRequest, StreamAcquisitionRequest } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { AcquisitionHeader, PhotometricInterpretation, Source } from '../../src/gen/salad/v1/types.js';
import type { Geometry } from '../../src/geometry/geometry.js';
import { loadSharp } from '../../src/imaging/libvips.js';

/** Metadata key that tells the bare server which answers to send. */
export const INPUT_FORM_KEY = 'input-form';

export type Method = 'StreamAcquisition' | 'ScoreImage';

export interface InputForm {
  readonly name: string;
  readonly method: Method;
  /** Encoded request messages, in order. */
  readonly requests: readonly Buffer[];
}

/** By input form: the encoded answers of salad-serve to its requests, in base64. */
export type RecordedAnswers = Readonly<
  Record<string, { readonly method: Method; readonly messages: readonly string[] }>
>;

/** Messages of rows that an image is divided into. */
const ROW_MESSAGES = [1, 8, 64] as const;
const TILES_PER_MESSAGE = 4;

/** @param image 8-bit samples at the working resolution, row by row */
export async function inputForms(
  model: string,
  geometry: Geometry,
  image: Uint8Array,
): Promise<readonly InputForm[]> {
  const { workingSize: size } = geometry;
  const rows = (count: number) =>
    streamForm(model, size, Source.SOURCE_ROWS, rowPayloads(image, size, count));
  const raw = { width: size, height: size, channels: 1 } as const;
  const sharp = await loadSharp();
  const encoded = await sharp(image, { raw }).png().toBuffer();
  return [
    ...ROW_MESSAGES.map((count) => ({ name: `rows${count}`, ...rows(count) })),
    { name: 'tiles', ...streamForm(model, size, Source.SOURCE_TILES, tilePayloads(image, geometry)) },
    { name: 'imageRaw', ...imageForm(model, size, { $case: 'raw', value: Buffer.from(image) }) },
    { name: 'imageEncoded', ...imageForm(model, size, { $case: 'encoded', value: encoded }) },
  ];
}

type StreamPayload = NonNullable<StreamAcquisitionRequest['payload']>;

function streamForm(model: string, size: number, source: Source, pixels: readonly StreamPayload[]) {
  const payloads: StreamPayload[] = [
    { $case: 'header', value: headerOf(model, size, source) },
    ...pixels,
    { $case: 'end', value: {} },
  ];
  const requests = payloads.map((payload) =>
    Buffer.from(StreamAcquisitionRequest.encode({ payload }).finish()),
  );
  return { method: 'StreamAcquisition', requests } as const;
}

function imageForm(model: string, size: number, image: NonNullable<ScoreImageRequest['image']>) {
  const header = headerOf(model, size, Source.SOURCE_UNSPECIFIED);
  if (image.$case === 'encoded') header.image = undefined;
  const requests = [Buffer.from(ScoreImageRequest.encode({ header, image, frame: undefined }).finish())];
  return { method: 'ScoreImage', requests } as const;
}

function headerOf(name: string, size: number, source: Source): AcquisitionHeader {
  return AcquisitionHeader.fromPartial({
    acquisitionId: 'bench',
    model: { name },
    image: {
      rows: size,
      columns: size,
      bitsAllocated: 8,
      bitsStored: 8,
      photometricInterpretation: PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME2,
    },
    source,
  });
}

function rowPayloads(image: Uint8Array, size: number, messages: number): readonly StreamPayload[] {
  const rows = size / messages;
  return Array.from({ length: messages }, (_, message) => {
    const firstRow = message * rows;
    const samples = Buffer.from(image.subarray(firstRow * size, (firstRow + rows) * size));
    return { $case: 'rows', value: { firstRow, samples } } as const;
  });
}

function tilePayloads(image: Uint8Array, geometry: Geometry): readonly StreamPayload[] {
  const { workingSize: size, tileRows, tileColumns, coreSize, coreColumns } = geometry;
  const tiles = Array.from({ length: tileRows * tileColumns }, (_, index) => {
    const row = Math.floor(index / tileColumns);
    const column = index % tileColumns;
    const samples = new Uint8Array(coreSize * coreColumns);
    for (let y = 0; y < coreSize; y++) {
      const from = (row * coreSize + y) * size + column * coreColumns;
      samples.set(image.subarray(from, from + coreColumns), y * coreColumns);
    }
    return { row, column, samples: Buffer.from(samples) };
  });
  return Array.from({ length: Math.ceil(tiles.length / TILES_PER_MESSAGE) }, (_, message) => {
    const from = message * TILES_PER_MESSAGE;
    return { $case: 'tiles', value: { tiles: tiles.slice(from, from + TILES_PER_MESSAGE) } } as const;
  });
}
