// `npm pack` of the main package runs this first: a fresh build.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from '../prepare.mjs';

install();
// Without what earlier builds left of sources that are gone.
rmSync(join(root, 'dist'), { recursive: true, force: true });
build();
