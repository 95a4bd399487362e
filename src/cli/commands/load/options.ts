/** The options and the help of `salad load`. */
import { type Command, Option } from 'commander';
import { engineOption, MAX_TIMER_MS, numberFrom, wholeNumber } from '../../shared/flags.js';
import { helpText } from '../../shared/help.js';
import { withTargetFlags } from '../../shared/target.js';
import { MAX_SEED } from '../phantom.js';
import {
  type LoadMode,
  MAX_RATE,
  MAX_SECONDS,
  MAX_STREAMS,
  parseMix,
  parseRamp,
  parseShare,
  parseSweep,
} from './flags.js';
import { parseSlo, type Slo } from './slo.js';

export function describeLoad(command: Command, modes: readonly LoadMode[]): Command {
  command
    .summary('measure a server under load: throughput, latency, fairness')
    .description(
      'Sends acquisitions to a server and measures throughput, latency and fairness. With --rate or --interval-ms ' +
        'they start on a fixed schedule even if the server falls behind (open loop), so that a slow server cannot ' +
        'hide its latency. Otherwise each stream starts the next one when the last has ended.',
    );
  withWhatIsSent(command, modes);
  withArrivals(command);
  withTimes(command);
  withGenerators(command);
  return withTargetFlags(
    withOutputs(command),
    'load this server; without it a server is started for this command',
  ).addHelpText('after', HELP);
}

function withWhatIsSent(command: Command, modes: readonly LoadMode[]): void {
  command
    .option(
      '--model <name|dir>',
      'NAME, NAME@VERSION or a bundle folder; optional if the server has one model',
    )
    .addOption(
      new Option('--mode <mode>', 'form of what is sent')
        .choices(modes)
        .default(undefined, 'tiles; image with --files'),
    )
    .option('--size <pixels>', 'rows and columns of the synthetic image', wholeNumber(64, 4096), 512)
    .option('--files <path...>', 'send these images in turn (files or folders) instead of a synthetic one')
    .addOption(
      new Option('--priority <class>', 'priority class of the acquisitions')
        .choices(['stat', 'routine', 'background'])
        .default('routine'),
    )
    .addOption(
      new Option(
        '--mix <kind>',
        'one kind of a mixed load: MODEL[,priority=CLASS][,mode=MODE][,weight=N]; repeatable, instead of --model',
      )
        .argParser(parseMix)
        .conflicts('model'),
    );
}

function withArrivals(command: Command): void {
  command
    .addOption(
      new Option('--streams <n>', 'number of concurrent acquisitions (default: 8)')
        .argParser(wholeNumber(1, MAX_STREAMS))
        .conflicts('rate'),
    )
    .addOption(
      new Option('--rate <r>', 'acquisitions per second, at random times (Poisson), instead of --streams')
        .argParser(numberFrom(0.001, MAX_RATE))
        .conflicts('intervalMs'),
    )
    .addOption(
      new Option('--ramp <from:to:step>', 'measure one rate after another, in acquisitions per second')
        .argParser(parseRamp)
        .conflicts(['rate', 'streams', 'sweep', 'intervalMs']),
    )
    .addOption(
      new Option('--sweep <n,n,...>', 'measure one number of streams after another')
        .argParser(parseSweep)
        .conflicts(['rate', 'streams']),
    )
    .option(
      '--interval-ms <ms>',
      'time between two starts of one stream; 0: start when the last one ended',
      numberFrom(0, MAX_TIMER_MS),
      0,
    )
    .option(
      '--acquisition-ms <ms>',
      'time over which the pixels of one acquisition are sent; 0: all at once',
      numberFrom(0, MAX_TIMER_MS),
      0,
    );
}

function withTimes(command: Command): void {
  command
    .option('--duration <s>', 'measured time in seconds, of each step', numberFrom(0.1, MAX_SECONDS), 10)
    .option('--warm-up <s>', 'unmeasured time before it, in seconds', numberFrom(0, MAX_SECONDS), 1)
    .addOption(
      new Option('--window <s>', 'length of a window of the time series, in seconds')
        .argParser(numberFrom(0.1, MAX_SECONDS))
        .default(undefined, '1, or a 300th of the duration'),
    )
    .option(
      '--stable <percent>',
      'end as soon as the last 3 windows are within this of their mean; --duration is then the longest time',
      numberFrom(0.1, 100),
    )
    .option('--timeout-ms <ms>', 'timeout of each acquisition', wholeNumber(1, MAX_TIMER_MS), 60_000)
    .option('--seed <n>', 'seed of the image and of the random times', wholeNumber(0, MAX_SEED), 1);
}

function withGenerators(command: Command): void {
  command
    .option(
      '--connections <n>',
      'HTTP/2 connections of each process, shared by its streams',
      wholeNumber(1, 10_000),
      1,
    )
    .option(
      '--processes <n>',
      'generator processes, which divide the streams or the rate',
      wholeNumber(1, 1024),
      1,
    )
    .option(
      '--share <index/count>',
      'be one of several generators: INDEX of COUNT, from 0; add the reports with salad load merge',
      parseShare,
    )
    .option(
      '--align-start <s>',
      'start when the time of day is a multiple of this, in seconds, as the other generators do',
      numberFrom(1, 3600),
    );
}

function withOutputs(command: Command): Command {
  return command
    .option(
      '--slo <expression>',
      'service-level objective; exit code 1 if it does not hold; repeatable; see below',
      (text: string, earlier: readonly Slo[] = []) => [...earlier, parseSlo(text)],
    )
    .option('--csv <file>', 'write one line of CSV for every acquisition')
    .option('--jsonl <file>', 'write one line of JSON for every acquisition')
    .option('--out <file>', 'write the report, as with --json, into this file')
    .addOption(
      new Option(
        '--models <dir>',
        'bundles of the server started for this command (default: the shipped models)',
      ).conflicts('target'),
    )
    .addOption(engineOption('engine of the server started for this command').conflicts('target'))
    .option('--json', 'print one JSON object');
}

const HELP = helpText(
  [
    'A latency counts from the scheduled time of sending the pixels. With --rate or --interval-ms a refusal ' +
      '(the server is full) is counted; streams without an interval wait as long as the server asks, and ' +
      'try again.',
    'Which load to choose: --streams finds the highest throughput; --rate shows the latency at a load that does not ' +
      'depend on the server; --ramp with --slo finds the highest rate at which the objectives hold. A ramp or sweep ' +
      'ends after the first step that violates an objective; its figures are those of the last step before.',
    'The report has the settings, the models of the server with their hashes, a time series, histograms that can be ' +
      'added (HdrHistogram), and how late and how busy the generator itself was. A warning says if it was the limit.',
    'Objectives: METRIC<NUMBER or METRIC>NUMBER; latencies may have the unit ms or s. Metrics: tile.p50, ' +
      'tile.p90, tile.p99, tile.p99.9, tile.max, the same for acquisition, failed, refused, tiles.perSecond, ' +
      'jain (fairness; 1: equal shares) and batchFill.',
    'Ctrl-C stops the run and prints the figures measured until then. Exit codes: 0 success, 1 an objective ' +
      'does not hold (of a ramp: at its first step) or nothing was scored, 2 wrong usage, 130 interrupted.',
  ],
  [
    ['salad load --model phantom --streams 8 --duration 10', 'eight streams without pauses'],
    [
      'salad load --target 127.0.0.1:50051 --model phantom --rate 20 --mode rows',
      'twenty acquisitions per second, sent as rows',
    ],
    [
      "salad load --model phantom --slo 'tile.p99<200ms' --slo 'failed<1' --json",
      'check objectives in a script',
    ],
    [
      "salad load --model phantom --ramp 5:50:5 --slo 'acquisition.p99<1s'",
      'the highest rate with short latencies',
    ],
    ['salad load --model phantom --sweep 1,2,4,8 --stable 5 --duration 60', 'throughput by streams'],
    [
      'salad load --rate 20 --mix phantom,weight=9 --mix phantom@1,priority=stat',
      'one of ten is urgent; the kinds may also have different models',
    ],
    ['salad load --model chest-adult --files images/ --csv requests.csv', 'images of your own'],
    ['salad load --model phantom --streams 64 --processes 4 --out a.json', 'four generator processes'],
    ['salad load diff a.json b.json', 'what changed between two reports'],
  ],
);
