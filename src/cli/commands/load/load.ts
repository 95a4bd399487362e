import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { SaladError } from '../../../errors/index.js';
import type { ProgramContext } from '../../shared/context.js';
import { runInterruptible } from '../../shared/interrupt.js';
import { EXIT, printJson } from '../../shared/output.js';
import { prepareFiles } from '../../shared/output-files.js';
import { openSession, type Session } from '../../shared/session.js';
import { refuseUnusedTargetFlags } from '../../shared/target.js';
import { registerDiff } from './diff.js';
import { type LoadFlags, MODES } from './flags.js';
import { readKinds } from './kinds.js';
import { alignStart, measureSteps, stepsOf, windowMsOf } from './measure.js';
import { isFailure, registerMerge } from './merge.js';
import { describeLoad } from './options.js';
import { printReport } from './print.js';
import { type LoadReport, loadReport, servedModel } from './report.js';
import { createRequestWriter } from './requests.js';

/** Windows of the longest time series; each is a line of the report. */
const WINDOWS_MAX = 10_000;
const LIST_TIMEOUT_MS = 10_000;

export function registerLoad(program: Command, context: ProgramContext): void {
  const command = describeLoad(program.command('load'), MODES).action((flags: LoadFlags) =>
    runInterruptible((signal) => load(flags, context, signal)),
  );
  registerDiff(command);
  registerMerge(command);
}

async function load(flags: LoadFlags, context: ProgramContext, signal: AbortSignal): Promise<void> {
  checkFlags(flags);
  await prepareFiles(
    [
      ...(flags.out === undefined ? [] : [{ flag: '--out', path: flags.out, format: 'json' as const }]),
      ...(flags.csv === undefined ? [] : [{ flag: '--csv', path: flags.csv, format: 'csv' as const }]),
      ...(flags.jsonl === undefined ? [] : [{ flag: '--jsonl', path: flags.jsonl, format: 'json' as const }]),
    ],
    flags.files ?? [],
  );
  const model = flags.mix?.[0]?.model ?? flags.model;
  const session = await openSession({
    ...flags,
    ...(model === undefined ? {} : { model }),
    environment: context.environment,
    signal,
  });
  try {
    const report = await measure(session, flags, signal);
    if (flags.out !== undefined) await writeFile(flags.out, `${JSON.stringify(report)}\n`);
    if (flags.json) printJson(report);
    else printReport(report);
    if (isFailure(report)) process.exitCode = EXIT.failure;
  } catch (error) {
    throw session.explain(error);
  } finally {
    await session.close();
  }
}

async function measure(session: Session, flags: LoadFlags, signal: AbortSignal): Promise<LoadReport> {
  const served = await session.client.listModels({ timeoutMs: LIST_TIMEOUT_MS, signal });
  const kinds = await readKinds(flags, session.model, served, signal);
  const names = new Set(kinds.map(({ model }) => model.name));
  const writer = createRequestWriter(flags);
  if (flags.alignStart !== undefined) await alignStart(flags.alignStart, signal);
  const startedAt = new Date().toISOString();
  const steps = await measureSteps(session, flags, kinds, signal, writer && ((each) => writer.write(each)));
  await writer?.close();
  return loadReport(steps, flags.ramp !== undefined || flags.sweep !== undefined, {
    startedAt,
    server: {
      target: session.target,
      models: served.map(servedModel).filter(({ name }) => names.has(name)),
    },
    settings: settingsOf(flags, session),
  });
}

/** @throws SaladError CONFIGURATION_INVALID for flags that do not fit each other */
function checkFlags(flags: LoadFlags): void {
  if (flags.target === undefined) refuseUnusedTargetFlags(flags);
  const windows = (flags.duration * 1000) / windowMsOf(flags);
  if (windows > WINDOWS_MAX) {
    throw usageError(
      `--window ${flags.window} s makes ${Math.ceil(windows)} windows, at most ${WINDOWS_MAX} are kept`,
    );
  }
  if (flags.stable !== undefined && (flags.processes > 1 || flags.share !== undefined)) {
    throw usageError(
      '--stable needs one generator: several would stop at different times; leave out --processes and --share',
    );
  }
  const generators = flags.share?.count ?? 1;
  const fewest = Math.min(...stepsOf(flags).map(({ streams }) => streams ?? Number.POSITIVE_INFINITY));
  if (fewest < generators) {
    throw usageError(
      `${fewest} streams cannot be divided among ${generators} generators: give at least as many streams`,
    );
  }
}

/** Secrets and their files are no settings of the load. */
const NOT_SETTINGS = new Set(['tokenFile', 'apiKeyFile', 'certFile', 'keyFile', 'caFile', 'json', 'out']);

function settingsOf(flags: LoadFlags, { model }: Session): Readonly<Record<string, unknown>> {
  const settings = Object.entries(flags).filter(([name]) => !NOT_SETTINGS.has(name));
  return {
    ...Object.fromEntries(settings),
    model: model.version === undefined ? model.name : `${model.name}@${model.version}`,
    windowMs: windowMsOf(flags),
    ...(flags.slo === undefined ? {} : { slo: flags.slo.map(({ text }) => text) }),
    ...(flags.mix === undefined ? {} : { mix: flags.mix.map((entry) => Object.values(entry).join(',')) }),
  };
}

function usageError(message: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message);
}
