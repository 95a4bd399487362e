#!/usr/bin/env node
/** Entry of the `salad-modality` command: the only file of it that reads the environment. */
import { setFlagsFromString } from 'node:v8';
import { handleSignals } from './commands/signals.js';

/** Time after which open handles no longer keep a finished command from ending. */
const EXIT_MS = 2000;

saveMemory();
handleSignals();
process.exitCode = await main();
setTimeout(() => void exit(), EXIT_MS).unref();

/** Sets flags of V8: the gateway waits for the disk and the network most of its time. */
function saveMemory(): void {
  // The young generation of the heap stays at its first size (2 MB); else it grows to 32 MB on Node 20, 64 MB on Node 24.
  setFlagsFromString('--semi-space-growth-factor=1');
  // The old generation grows in smaller steps.
  setFlagsFromString('--optimize-for-size');
  // Only code that runs long is optimized (the default is 132 KB of bytecode): the compiler takes 5 MiB for the rest. V8
  // of later Node versions has no such flag.
  if (process.versions.node.startsWith('20.')) setFlagsFromString('--interrupt-budget=1000000');
}

async function main(): Promise<number> {
  // Deprecation warnings of libraries are not for users.
  process.noDeprecation = true;
  // Loaded after the handlers of signals are there: it takes a while.
  const { watchStandardStreams } = await import('../../../src/cli/shared/output.js');
  watchStandardStreams();
  const { runProgram } = await import('../../../src/cli/shared/run.js');
  const { createProgram } = await import('./program.js');
  return runProgram(createProgram({ environment: process.env }), process.argv);
}

/** `process.exit` would wait for calls of files that do not return, as in a watched folder whose server is away. */
async function exit(): Promise<void> {
  const { loadImmediateExit } = await import('../../../src/util/immediate-exit.js');
  const exitNow = await loadImmediateExit();
  exitNow(Number(process.exitCode));
}
