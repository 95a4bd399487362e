// Builds the client and its type declarations; `npm pack` in clients/typescript runs this first.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { install, root, run } from '../prepare.mjs';

install();
const client = join(root, 'clients/typescript');
// Removes the output of earlier builds, which may contain files of deleted sources.
rmSync(join(client, 'dist'), { recursive: true, force: true });
run('node', ['node_modules/typescript-native/bin/tsc', '-p', join(client, 'tsconfig.json')]);
