// `npm pack` in clients/typescript runs this first: a fresh build of the client, with its type declarations.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { install, root, run } from '../prepare.mjs';

install();
const client = join(root, 'clients/typescript');
// Without what earlier builds left of sources that are gone.
rmSync(join(client, 'dist'), { recursive: true, force: true });
run('node', ['node_modules/typescript-native/bin/tsc', '-p', join(client, 'tsconfig.json')]);
