/** The clients that the conformance suite drives. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../../../support/root.js';
import { LineProgram } from './line-program.js';

export const SUBJECTS = ['typescript', 'python', 'python-asyncio', 'go', 'tritonclient'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

/** A program that uses one client. @param folder for what is built */
export async function startSubject(name: SubjectName, folder: string): Promise<LineProgram> {
  switch (name) {
    case 'typescript':
      return new LineProgram([
        process.execPath,
        '--import',
        'tsx',
        'test/slow/clients/conformance/typescript.ts',
      ]);
    case 'python':
      return new LineProgram(await python('sync'));
    case 'python-asyncio':
      return new LineProgram(await python('aio'));
    case 'tritonclient': {
      const { inferenceClients } = await import(join(root, 'scripts/clients/open-inference.mjs'));
      return new LineProgram([inferenceClients() as string, 'test/slow/open-inference/conformance.py']);
    }
    case 'go': {
      const program = join(folder, 'go-subject');
      execFileSync('go', ['build', '-o', program, './conformance'], {
        cwd: join(root, 'clients/go'),
        stdio: ['ignore', 2, 2],
      });
      return new LineProgram([program]);
    }
  }
}

/** The sources of the checkout, whatever was installed. */
async function python(kind: 'sync' | 'aio'): Promise<readonly [string, ...string[]]> {
  const { pythonClientEnvironment } = await import(join(root, 'scripts/clients/python-client.mjs'));
  const start =
    'import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name="__main__")';
  const files = ['clients/python/src', 'clients/python/conformance/subject.py'];
  return [pythonClientEnvironment('newest') as string, '-c', start, ...files, kind];
}
