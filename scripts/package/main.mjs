// Builds the main package; `npm pack` runs this first.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from '../prepare.mjs';

install();
// Removes the output of earlier builds, which may contain files of deleted sources.
rmSync(join(root, 'dist'), { recursive: true, force: true });
build();
