#!/usr/bin/env node
/** Entry of the `salad` command: the only file that reads the environment. */
import { createProgram } from './cli/program.js';
import { runProgram } from './cli/shared/run.js';
import { ONNX_ENVIRONMENT } from './engines/onnx/environment.js';
import { tensorflowEnvironment } from './engines/tfjs/tensorflow/environment.js';

// Native libraries read these when a worker loads them; only the main thread can still set them.
Object.assign(process.env, ONNX_ENVIRONMENT, tensorflowEnvironment(process.env));
// Who reads no further (`salad ... | head`) ends the reading, not the work: training goes on, a server serves.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await runProgram(createProgram({ environment: process.env }), process.argv);
