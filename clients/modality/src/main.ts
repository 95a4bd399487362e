#!/usr/bin/env node
/** Entry of the `salad-modality` command. */
import { watchStandardStreams } from '../../../src/cli/shared/output.js';
import { runProgram } from '../../../src/cli/shared/run.js';
import { createProgram } from './program.js';

/** Time after which open handles no longer keep a finished command from ending. */
const EXIT_MS = 2000;

// Deprecation warnings of libraries are not for users.
process.noDeprecation = true;
watchStandardStreams();
process.exitCode = await runProgram(createProgram(), process.argv);
setTimeout(() => process.exit(), EXIT_MS).unref();
