#!/usr/bin/env node
/** Entry of the `salad` command: the only file that reads the environment. */
import { createProgram } from './cli/index.js';
import { runProgram } from './cli/run.js';

process.exitCode = await runProgram(createProgram({ environment: process.env }), process.argv);
