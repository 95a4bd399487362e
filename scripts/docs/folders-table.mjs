const MARKED = /<!-- generated: folders -->[\s\S]*?<!-- end -->/;

/** Replaces the table of folders between the marks of a page by the content of test/folders.json. */
export function withFoldersTable(page, folders) {
  if (!MARKED.test(page)) throw new Error('the page has no marks for the table of folders');
  const rows = folders.map(({ folder, owns, imports }) => {
    const allowed = imports.filter((name) => !['src/errors', 'src/gen', 'src/util'].includes(name));
    return `| \`${folder}\` | ${owns} | ${allowed.map(short).join(', ') || '–'} |`;
  });
  const table = [
    '<!-- generated: folders -->',
    '<!-- from test/folders.json by `npm run docs` -->',
    '',
    '| folder | what it owns | imports (besides `errors`, `gen`, `util`) |',
    '|---|---|---|',
    ...rows,
    '',
    '<!-- end -->',
  ];
  return page.replace(MARKED, () => table.join('\n'));
}

const short = (folder) => folder.replace('src/training/', 'training/').replace('src/', '');
