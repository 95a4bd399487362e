// Builds grpcurl, a client that knows only what reflection says, into .cache/grpcurl and prints its path.
import { join } from 'node:path';
import { goProgram } from './go-program.mjs';
import { root } from './prepare.mjs';

const SOURCE = 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3';

console.log(goProgram('grpcurl', SOURCE, join(root, '.cache/grpcurl')));
