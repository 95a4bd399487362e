/** Warnings of `salad score` about the false-positive rate that a model with few calibration images can promise. */
import { type AcquisitionAggregate, type Model, WarningKind } from '../../../clients/typescript/src/index.js';
import { SaladError } from '../../errors/index.js';
import { roundedUp } from '../../scoring/calibration.js';
import { DEFAULT_FALSE_POSITIVE_RATE } from '../../scoring/calibration-warnings.js';
import { note } from '../shared/output.js';
import type { Session } from '../shared/session.js';

function percent(rate: number): string {
  return `${Number((100 * rate).toPrecision(2))} %`;
}

/**
 * The warning for a decision at a higher rate than the default, which a server takes if the model cannot promise the
 * default rate. Undefined if the user requested a rate, or if the default rate was used.
 */
function raisedRateWarning(rate: number, requestedRate: number | undefined): string | undefined {
  if (requestedRate !== undefined || rate <= DEFAULT_FALSE_POSITIVE_RATE) return undefined;
  return (
    `decided at a false-positive rate of ${percent(rate)}, because the model has too few calibration images for ` +
    `${percent(DEFAULT_FALSE_POSITIVE_RATE)}: calibrate it on more normal images (salad calibrate), or accept the ` +
    'rate with --max-false-positive-rate'
  );
}

/**
 * Returns a function that adds the warning about a raised false-positive rate to the warnings of the server. The first
 * warning is also printed on stderr.
 */
export function createRateWarner(
  requestedRate: number | undefined,
): (aggregate: AcquisitionAggregate) => AcquisitionAggregate {
  let isNoted = false;
  return (aggregate) => {
    const message = raisedRateWarning(aggregate.maxFalsePositiveRate, requestedRate);
    if (message === undefined) return aggregate;
    if (!isNoted) note(`salad: warning: ${message}`);
    isNoted = true;
    const warning = { kind: WarningKind.WARNING_KIND_UNSPECIFIED, message };
    return { ...aggregate, warnings: [...aggregate.warnings, warning] };
  };
}

/** Relative tolerance of the comparison of rates, as in the server's threshold. */
const ROUNDING = 1e-9;

/** Why the calibration of a model cannot promise a requested rate; undefined if it can. */
export function unreachableRate({ calibration }: Model, requestedRate: number): string | undefined {
  if (calibration === undefined) return undefined;
  const { count, minFalsePositiveRate } = calibration;
  if (requestedRate >= minFalsePositiveRate * (1 - ROUNDING)) return undefined;
  return (
    `--max-false-positive-rate ${requestedRate}: the model cannot promise it, because its ${count} calibration images ` +
    `allow ${roundedUp(minFalsePositiveRate)} at the lowest: give that or a higher rate, or calibrate on more normal ` +
    'images (salad calibrate)'
  );
}

/** Longest time for the server to describe the model. */
const DESCRIBE_TIMEOUT_MS = 10_000;

/**
 * Asks for the model, so that a rate that the server would refuse for every image is known before the first one.
 * @throws SaladError FALSE_POSITIVE_RATE_UNREACHABLE
 */
export async function refuseUnreachableRate(
  { client, model }: Session,
  rate: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (rate === undefined) return;
  const timeoutMs = DESCRIBE_TIMEOUT_MS;
  // If the server cannot be called, scoring reports the reason.
  const description = await client
    .getModel(model.name, model.version, { timeoutMs, signal })
    .catch(() => undefined);
  const reason = description === undefined ? undefined : unreachableRate(description, rate);
  if (reason !== undefined) throw new SaladError('FALSE_POSITIVE_RATE_UNREACHABLE', reason);
}
