/** The TypeScript client as a subject of the conformance suite. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import {
  type AcquisitionEvent,
  type AcquisitionHeaderInput,
  AnomalyMapFormat,
  Decision,
  displayTiles,
  EarlyEnd,
  PhotometricInterpretation,
  type PixelChunk,
  type PixelSource,
  SaladClient,
  SaladClientError,
  Source,
  VoiFunction,
  WarningKind,
} from '../../../../clients/typescript/src/index.js';
import type { CaseMessage, ChunkCase, Outcome, ResultMessage } from './protocol.js';

function headerOf({ header }: CaseMessage): AcquisitionHeaderInput {
  if (header === undefined) throw new Error('a case without a header');
  const { image, options } = header;
  const number = (names: object, name: string | undefined): never =>
    (names as Record<string, number>)[name ?? ''] as never;
  return {
    acquisitionId: header.acquisitionId ?? 'conformance',
    model: { name: header.model.name, version: header.model.version },
    source: number(Source, header.source ?? 'SOURCE_ROWS'),
    ...(image && {
      image: {
        ...image,
        photometricInterpretation: number(PhotometricInterpretation, image.photometricInterpretation),
        voi: image.voi && { transform: transformOf(image.voi, number) },
      } as never,
    }),
    ...(options && {
      options: {
        ...options,
        anomalyMap: number(AnomalyMapFormat, options.anomalyMap),
        earlyEnd: number(EarlyEnd, options.earlyEnd),
      } as never,
    }),
  };
}

type Voi = NonNullable<NonNullable<NonNullable<CaseMessage['header']>['image']>['voi']>;

function transformOf({ window, lut, auto }: Voi, number: (names: object, name: string) => number): unknown {
  if (window)
    return { $case: 'window', value: { ...window, function: number(VoiFunction, window.function) } };
  return lut ? { $case: 'lut', value: lut } : { $case: 'auto', value: auto };
}

function chunkOf(samples: Buffer, chunk: ChunkCase): PixelChunk {
  const cut = (offset: number, length: number) => samples.subarray(offset, offset + length);
  if ('tiles' in chunk) {
    const tiles = chunk.tiles.map(({ row, column, offset, length }) => ({
      row,
      column,
      samples: cut(offset, length),
    }));
    return { type: 'tiles', tiles };
  }
  return { type: 'rows', rows: { firstRow: chunk.firstRow, samples: cut(chunk.offset, chunk.length) } };
}

function sourceOf(asked: CaseMessage): PixelSource {
  const samples = readFileSync(asked.samples ?? '');
  if (asked.display) {
    const display = new Float32Array(new Uint8Array(samples).buffer);
    return async function* (accepted) {
      yield* displayTiles(accepted, display);
    };
  }
  const whole = [{ firstRow: 0, offset: 0, length: samples.byteLength }];
  const chunks = (asked.chunks ?? whole).map((chunk) => chunkOf(samples, chunk));
  const { failAfter, holdAfter } = asked;
  if (failAfter === undefined && holdAfter === undefined && !asked.once) return chunks;
  const generate = async function* () {
    for (let index = 0; index <= chunks.length; index++) {
      if (index === failAfter) throw new Error('the source failed');
      if (index === holdAfter) await new Promise(() => {});
      if (index < chunks.length) yield chunks[index]!;
    }
  };
  return asked.once ? generate() : generate;
}

function resultOf(events: readonly AcquisitionEvent[]): ResultMessage {
  const accepted = events.find((event) => event.type === 'accepted')?.accepted;
  const aggregate = events.find((event) => event.type === 'aggregate')?.aggregate;
  const geometry = accepted?.geometry;
  if (aggregate === undefined || geometry === undefined) throw new Error('no aggregate');
  const patches = events.flatMap((event) => (event.type === 'patches' ? event.patches : []));
  const grid = (value: (patch: (typeof patches)[number]) => number) => {
    const values = new Float32Array(geometry.patchRows * geometry.patchColumns).fill(Number.NaN);
    for (const patch of patches) values[patch.row * geometry.patchColumns + patch.column] = value(patch);
    return Buffer.from(values.buffer).toString('base64');
  };
  const sum = (count: (patch: (typeof patches)[number]) => number) =>
    patches.reduce((total, patch) => total + count(patch), 0);
  return {
    acquisitionId: aggregate.acquisitionId,
    model: `${aggregate.model?.name}@${aggregate.model?.version}`,
    imageScore: aggregate.imageScore,
    pValue: aggregate.pValue,
    decision: Decision[aggregate.decision]?.replace('DECISION_', '') ?? 'UNRECOGNIZED',
    scores: grid(({ score }) => score),
    robustZ: grid((patch) => patch.robustZ),
    scored: aggregate.coverage?.scored ?? 0,
    missing: aggregate.coverage?.missing ?? 0,
    topPatches: aggregate.topPatches.length,
    warnings: aggregate.warnings.map(
      ({ kind }) => WarningKind[kind]?.replace('WARNING_KIND_', '') ?? 'UNRECOGNIZED',
    ),
    map: Buffer.from(aggregate.anomalyMap?.data ?? []).toString('base64'),
    embeddings: sum(({ embedding }) => (embedding.length > 0 ? 1 : 0)),
    nearest: sum(({ nearestPrototypes }) => nearestPrototypes.length),
  };
}

async function once(client: SaladClient, asked: CaseMessage): Promise<Omit<Outcome, 'name'>> {
  let retries = 0;
  let events: AcquisitionEvent[] = [];
  const { timeoutMs = 30_000, retry = true } = asked;
  const options = {
    timeoutMs,
    ...(retry ? {} : { retry: false as const }),
    onEvent: (event: AcquisitionEvent) => events.push(event),
    onRetry: () => {
      retries += 1;
      events = [];
    },
    ...(asked.leave === 'before' ? { signal: AbortSignal.abort() } : {}),
  };
  try {
    if (asked.do === 'health') return { health: (await client.health()) ?? '' };
    if (asked.do === 'models') {
      const models = await client.listModels({ timeoutMs });
      return { models: models.map(({ identity }) => `${identity?.name}@${identity?.version}`) };
    }
    if (asked.pause !== undefined) return { retries, ...(await paused(client, asked)) };
    if (asked.encoded !== undefined) {
      await client.scoreImage(headerOf(asked), { encoded: readFileSync(asked.encoded) }, options);
    } else if (asked.leave === 'first' || asked.leave === 'last') {
      for await (const { type } of client.streamAcquisition(headerOf(asked), sourceOf(asked))) {
        if (asked.leave === 'first' || type === 'aggregate') return { left: true };
      }
    } else await client.scoreAcquisition(headerOf(asked), sourceOf(asked), options);
    return { retries, result: resultOf(events) };
  } catch (error) {
    if (!(error instanceof SaladClientError)) return { retries, raised: (error as Error).message };
    const { status, reason = '', fieldViolations, retryAfterMs = null } = error;
    if (asked.leave === 'before' && status === 'CANCELLED') return { retries, left: true };
    return {
      retries,
      error: { status, reason, fields: fieldViolations.map(({ field }) => field), retryAfterMs },
    };
  }
}

/** Reads no event after the first until the pause is over and another acquisition of the client has ended. */
async function paused(
  client: SaladClient,
  { pause = '', also, ...asked }: CaseMessage,
): Promise<Omit<Outcome, 'name'>> {
  const events: AcquisitionEvent[] = [];
  let other: Omit<Outcome, 'name'> = {};
  for await (const event of client.streamAcquisition(headerOf(asked), sourceOf(asked))) {
    events.push(event);
    if (events.length > 1) continue;
    await readFile(pause);
    other = await once(client, { ...asked, ...(also && { header: also }) });
  }
  const kinds = events.map(({ type }) => type);
  return {
    events: kinds.filter((kind, index) => kind !== kinds[index - 1]),
    patches: events.reduce((sum, event) => sum + (event.type === 'patches' ? event.patches.length : 0), 0),
    result: resultOf(events),
    ...(other.result && { also: other.result }),
  };
}

async function carryOut(asked: CaseMessage): Promise<Outcome> {
  const { ca, apiKey, maxReceiveBytes } = asked;
  const tokens = [...(asked.tokens ?? [])];
  const client = new SaladClient(asked.target, {
    ...(ca === undefined ? {} : { tls: { ca } }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(maxReceiveBytes === undefined ? {} : { maxReceiveBytes }),
    ...(tokens.length === 0 ? {} : { token: () => (tokens.length > 1 ? tokens.shift()! : tokens[0]!) }),
  });
  try {
    const [also, ...outcomes] = await Promise.all([
      asked.also && asked.pause === undefined ? once(client, { ...asked, header: asked.also }) : undefined,
      ...Array.from({ length: asked.parallel ?? 1 }, () => once(client, asked)),
    ]);
    if (new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size > 1)
      return { name: asked.name, raised: 'outcomes differ' };
    return { name: asked.name, ...outcomes[0], ...(also?.result && { also: also.result }) };
  } finally {
    client.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line) as CaseMessage))}\n`);
}
process.exit(0);
