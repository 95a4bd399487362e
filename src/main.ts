#!/usr/bin/env node
/** Entry of the `salad` command: the only file that reads the environment. */
import { OPEN_FILES_MIN, openFilesMax } from './cli/shared/file-limit.js';

/** The process ends this long after its command, even if handles are still open. */
const EXIT_MS = 2000;

process.exitCode = await main();
setTimeout(() => process.exit(), EXIT_MS).unref();

async function main(): Promise<number> {
  const openFiles = openFilesMax() ?? Number.POSITIVE_INFINITY;
  if (openFiles < OPEN_FILES_MIN) {
    // Before modules are loaded: that would fail with a stack trace somewhere in a package.
    process.stderr.write(
      `salad: the limit of open files is ${openFiles}, at least ${OPEN_FILES_MIN} are needed (ulimit -n)\n`,
    );
    return 1;
  }
  const { ONNX_ENVIRONMENT } = await import('./engines/onnx/environment.js');
  const { tensorflowEnvironment } = await import('./engines/tfjs/tensorflow/environment.js');
  // Native libraries read these when a worker loads them; only the main thread can still set them.
  Object.assign(process.env, ONNX_ENVIRONMENT, tensorflowEnvironment(process.env));
  // Deprecation warnings of libraries, such as those of grpc-js about TLS names that are addresses, are not for users.
  process.noDeprecation = true;
  const { watchStandardStreams } = await import('./cli/shared/output.js');
  watchStandardStreams();
  const { createProgram } = await import('./cli/program.js');
  const { runProgram } = await import('./cli/shared/run.js');
  const program = await createProgram({ environment: process.env }, process.argv[2]);
  return runProgram(program, process.argv);
}
