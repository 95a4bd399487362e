/** The project's prose and where it is cited. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { root } from './root.js';

export interface Page {
  /** Path from the root. */
  readonly file: string;
  readonly text: string;
  /** Outside code blocks, with their line numbers from 1. */
  readonly lines: readonly { readonly number: number; readonly text: string }[];
  readonly headings: readonly string[];
}

/** Every Markdown page that people read: README, CONTRIBUTING, docs/, the READMEs of the clients and of folders of src. */
export function pages(): readonly Page[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file));
  const clients = readdirSync(join(root, 'clients')).map((name) => join('clients', name, 'README.md'));
  const folders = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => basename(file) === 'README.md')
    .map((file) => join('src', file));
  return ['README.md', 'CONTRIBUTING.md', ...docs, ...clients, ...folders]
    .filter((file) => existsSync(join(root, file)))
    .sort()
    .map(readPage);
}

export function readPage(file: string): Page {
  const text = readFileSync(join(root, file), 'utf8');
  let inCode = false;
  const lines = text.split('\n').flatMap((line, index) => {
    if (line.startsWith('```')) {
      inCode = !inCode;
      return [];
    }
    return inCode ? [] : [{ number: index + 1, text: line }];
  });
  const headings = lines
    .filter((line) => /^#+ /.test(line.text))
    .map((line) => line.text.replace(/^#+ /, ''));
  return { file, text, lines, headings };
}

/** The anchor that a Markdown renderer gives a heading. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}

/** Source files whose comments and messages cite pages: path from the root and text. */
export function sources(): readonly { readonly file: string; readonly text: string }[] {
  return ['src', 'workers', 'clients', 'bench', 'test', 'scripts', 'helm', 'proto']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name))),
    )
    .filter((file) => /\.(ts|mjs|js|py|proto|yaml|tpl|txt)$/.test(file))
    .filter((file) => !/(^src\/gen|^proto\/onnx|node_modules|\/dist\/|__pycache__)/.test(file))
    .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }));
}

/** Whether the repository holds a commit of this name. */
export function hasCommit(name: string): boolean {
  try {
    execFileSync('git', ['cat-file', '-e', `${name}^{commit}`], { cwd: root, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
