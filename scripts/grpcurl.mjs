// Builds grpcurl, a client that knows only what server reflection says, into .cache/grpcurl and prints its path.
import { join } from 'node:path';
import { goProgram } from './go-program.mjs';
import { root } from './root.mjs';

const SOURCE = 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3';

/** Path of the built program. */
export const grpcurl = () => goProgram('grpcurl', SOURCE, join(root, '.cache/grpcurl'));

if (process.argv[1] === import.meta.filename) console.log(grpcurl());
