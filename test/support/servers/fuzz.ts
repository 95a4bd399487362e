/** Malformed streams: what a faulty or hostile client, or a bad connection, sends. Everything follows from one seed. */
import type { ClientHttp2Session } from 'node:http2';
import { ScoreImageRequest } from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { AcquisitionHeader } from '../../../src/gen/salad/v1/types.js';
import { createRandom } from '../../../src/util/random.js';
import { encode, endOf, frame, openRaw, type RawEnd, STREAM_PATH } from '../protocol/raw-grpc.js';
import { smallHeader, smallImage, smallRows } from './small-server.js';

type Random = () => number;
type Fields = Record<string, unknown>;

/** What one stream does. */
interface Plan {
  readonly path: string;
  /** Written one after the other. */
  readonly writes: readonly Uint8Array[];
  readonly then: 'half-close' | 'reset' | 'leave open';
}

const image = smallImage(5);
const rowMessages = smallRows(image).map((chunk) =>
  encode({ $case: 'rows', value: chunk.type === 'rows' ? chunk.rows : { firstRow: 0, samples: image } }),
);
const header = () => smallHeader('fuzz');
const headerMessage = (value: Fields) =>
  encode({ $case: 'header', value: AcquisitionHeader.fromPartial(value as never) });
const endMessage = encode({ $case: 'end', value: { crc32c: undefined } });
const good = [headerMessage(header()), ...rowMessages, endMessage];

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const below = (random: Random, limit: number) => Math.floor(random() * limit);
const noise = (random: Random, length: number) => Uint8Array.from({ length }, () => below(random, 256));

const INTEGERS = [
  0,
  1,
  7,
  8,
  9,
  15,
  16,
  17,
  63,
  64,
  65,
  4096,
  65_535,
  2 ** 20,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
];
const DOUBLES = [
  0,
  -0,
  1,
  -1,
  0.5,
  1e-300,
  1e300,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];

/** One header field after the other, each with values at and past its limits. */
const HEADER_MUTATIONS: readonly ((header: Fields, random: Random) => void)[] = [
  (h, r) => Object.assign(h, { acquisitionId: 'x'.repeat(pick(r, [0, 1, 64, 65, 5000])) }),
  (h, r) =>
    Object.assign(h, {
      model: pick(r, [undefined, {}, { name: '' }, { name: '../small' }, { name: 'none' }]),
    }),
  (h, r) => Object.assign(h, { model: { name: 'small', version: pick(r, INTEGERS) } }),
  (h, r) => Object.assign(h, { source: pick(r, [0, 1, 2, 3, 99, -1]) }),
  (h, r) => Object.assign(h, { priority: pick(r, [0, 3, 4, 99, -1]) }),
  (h) => Object.assign(h, { image: undefined }),
  ...(['rows', 'columns', 'bitsAllocated', 'bitsStored', 'photometricInterpretation'] as const).map(
    (field) => (h: Fields, r: Random) =>
      Object.assign(h['image'] as Fields, { [field]: pick(r, INTEGERS) % 2 ** 31 }),
  ),
  ...(['rescaleSlope', 'rescaleIntercept', 'rowSpacingMm', 'columnSpacingMm'] as const).map(
    (field) => (h: Fields, r: Random) => Object.assign(h['image'] as Fields, { [field]: pick(r, DOUBLES) }),
  ),
  (h, r) => Object.assign(h['image'] as Fields, { isSigned: true, bitsStored: below(r, 20) }),
  (h, r) => {
    const window = { center: pick(r, DOUBLES), width: pick(r, DOUBLES), function: below(r, 6) };
    Object.assign(h['image'] as Fields, { voi: { transform: { $case: 'window', value: window } } });
  },
  (h, r) => {
    const entries = Array.from({ length: pick(r, [0, 1, 256, 70_000]) }, () => below(r, 2 ** 17));
    const lut = {
      firstValue: pick(r, [0, -1, 2 ** 31 - 1, -(2 ** 31)]),
      bitsPerEntry: below(r, 40),
      entries,
    };
    Object.assign(h['image'] as Fields, { voi: { transform: { $case: 'lut', value: lut } } });
  },
  (h, r) => {
    const auto = {
      lowPercentile: pick(r, [...DOUBLES, 99, 100]),
      highPercentile: pick(r, [...DOUBLES, 99, 101]),
    };
    Object.assign(h['image'] as Fields, { voi: { transform: { $case: 'auto', value: auto } } });
  },
  (h, r) =>
    Object.assign(h, {
      options: {
        patchScores: r() < 0.5,
        anomalyMap: below(r, 6),
        embeddings: r() < 0.5,
        nearestPrototypes: pick(r, [0, 1, 3, 4, 1000, 2 ** 32 - 1]),
        maxFalsePositiveRate: pick(r, [...DOUBLES, 0.05, 1e-9]),
        earlyEnd: below(r, 5),
        topPatches: pick(r, [0, 5, 100, 101, 2 ** 32 - 1]),
      },
    }),
];

const framed = (messages: readonly Uint8Array[]) => messages.map((message) => frame(message));
const stream = (writes: readonly Uint8Array[], then: Plan['then'] = 'half-close'): Plan => ({
  path: STREAM_PATH,
  writes,
  then,
});

/** The kinds of damage; each gives the plan of one stream. */
export const DAMAGE: Readonly<Record<string, (random: Random) => Plan>> = {
  'header fields': (random) => {
    const mutated: Fields = structuredClone(header());
    const count = 1 + below(random, 2);
    for (let i = 0; i < count; i++) {
      // A mutation may take away what the next one would change.
      if (mutated['image'] !== undefined) pick(random, HEADER_MUTATIONS)(mutated, random);
    }
    return stream(framed([headerMessage(mutated), ...good.slice(1)]));
  },
  'rows and tiles out of place': (random) => {
    const firstRow = pick(random, INTEGERS);
    const samples = noise(random, pick(random, [0, 1, 63, 64, 512, 4096, 4160]));
    const tile = { row: pick(random, INTEGERS), column: pick(random, INTEGERS), samples };
    const wrong =
      random() < 0.5
        ? encode({ $case: 'rows', value: { firstRow, samples } })
        : encode({ $case: 'tiles', value: { tiles: [tile, tile].slice(0, below(random, 3)) } });
    const messages = [...good];
    messages.splice(1 + below(random, messages.length - 1), below(random, 2), wrong);
    return stream(framed(messages));
  },
  reordered: (random) => {
    const messages = [...good];
    for (let i = messages.length - 1; i > 0; i--) {
      const j = below(random, i + 1);
      [messages[i], messages[j]] = [messages[j] as Uint8Array, messages[i] as Uint8Array];
    }
    return stream(framed(messages));
  },
  'sent twice or left out': (random) => {
    const messages = good.flatMap((message) => {
      const times = pick(random, [0, 1, 1, 1, 2]);
      return Array.from({ length: times }, () => message);
    });
    return stream(framed(messages));
  },
  'wrong checksum': (random) =>
    stream(
      framed([...good.slice(0, -1), encode({ $case: 'end', value: { crc32c: below(random, 2 ** 32) } })]),
    ),
  truncated: (random) => {
    const whole = Buffer.concat(framed(good));
    return stream([whole.subarray(0, below(random, whole.length))]);
  },
  'bits flipped': (random) => {
    const whole = Buffer.concat(framed(good));
    for (let i = 1 + below(random, 4); i > 0; i--) {
      // Near the front more often: there lie the header and the prefixes.
      const limit = random() < 0.7 ? 120 : whole.length;
      const at = below(random, limit);
      whole[at] = (whole[at] ?? 0) ^ (1 << below(random, 8));
    }
    return stream([whole], 'half-close');
  },
  'giant lengths': (random) => {
    const announced = pick(random, [2 ** 20, 2 ** 22, 2 ** 22 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]);
    const giant = frame(noise(random, 200), announced);
    return stream(random() < 0.5 ? [giant] : [frame(good[0] as Uint8Array), giant]);
  },
  'compressed without saying how': (random) => {
    const bytes = frame(pick(random, good));
    bytes[0] = 1 + below(random, 255);
    return stream([frame(good[0] as Uint8Array), bytes]);
  },
  'half-closed early': (random) => stream(framed(good.slice(0, below(random, good.length)))),
  'reset on the way': (random) => stream(framed(good.slice(0, below(random, good.length + 1))), 'reset'),
  'left open': (random) => stream(framed(good.slice(0, below(random, good.length))), 'leave open'),
  'framed noise': (random) => {
    const messages = Array.from({ length: 1 + below(random, 3) }, () => noise(random, below(random, 300)));
    return stream(framed(random() < 0.5 ? messages : [good[0] as Uint8Array, ...messages]));
  },
  'bare noise': (random) => stream([noise(random, 1 + below(random, 600))]),
  'broken whole images': (random) => {
    const value = random() < 0.7 ? pngLike(random) : noise(random, below(random, 9000));
    const $case = random() < 0.7 ? 'encoded' : 'raw';
    const request = ScoreImageRequest.fromPartial({ header: header(), image: { $case, value } as never });
    return {
      ...stream([frame(ScoreImageRequest.encode(request).finish())]),
      path: '/salad.v1.AnomalyScoring/ScoreImage',
    };
  },
  'methods that are not there': (random) => ({
    ...stream(framed(good)),
    path: pick(random, ['/', '/salad.v1.AnomalyScoring/', '/salad.v1.AnomalyScoring/Nope', '/%00/x']),
  }),
};

/** The beginning of a PNG file that promises a size and holds nothing of it. */
function pngLike(random: Random): Uint8Array {
  const head = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
  const size = Buffer.alloc(8);
  size.writeUInt32BE(pick(random, INTEGERS) % 2 ** 31, 0);
  size.writeUInt32BE(pick(random, INTEGERS) % 2 ** 31, 4);
  return Buffer.concat([head, size, noise(random, below(random, 200))]);
}

/** Longer than the server's idle timeout and anything it computes. */
const HANGS_MS = 10_000;

export interface FuzzedStream extends RawEnd {
  /** The server never ended the stream. */
  readonly hangs: boolean;
  readonly kind: string;
  readonly seed: number;
}

/** Runs the malformed stream of a seed to its end. */
export async function runFuzzed(session: ClientHttp2Session, seed: number): Promise<FuzzedStream> {
  const random = createRandom(seed);
  const kinds = Object.keys(DAMAGE);
  const kind = kinds[seed % kinds.length] as string;
  const plan = (DAMAGE[kind] as (random: Random) => Plan)(random);
  const open = openRaw(session, plan.path);
  const ended = endOf(open);
  for (const bytes of plan.writes) open.write(bytes);
  if (plan.then === 'half-close') open.end();
  // 8 is CANCEL.
  if (plan.then === 'reset') open.close(8);
  let hangs = false;
  const timer = setTimeout(() => {
    hangs = true;
    open.destroy();
  }, HANGS_MS);
  const end = await ended;
  clearTimeout(timer);
  return { ...end, hangs, kind, seed };
}
