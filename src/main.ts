#!/usr/bin/env node
/** Entry of the `salad` command: the only file that reads the environment. */
import { createProgram } from './cli/program.js';
import { watchStandardStreams } from './cli/shared/output.js';
import { runProgram } from './cli/shared/run.js';
import { ONNX_ENVIRONMENT } from './engines/onnx/environment.js';
import { tensorflowEnvironment } from './engines/tfjs/tensorflow/environment.js';

// Native libraries read these when a worker loads them; only the main thread can still set them.
Object.assign(process.env, ONNX_ENVIRONMENT, tensorflowEnvironment(process.env));
// Warnings for developers of libraries, such as grpc-js' TLS names that are addresses, are none for users.
process.noDeprecation = true;
watchStandardStreams();
process.exitCode = await runProgram(createProgram({ environment: process.env }), process.argv);
