const MARKED = /<!-- generated: rooms -->[\s\S]*?<!-- end -->/;

/** Replaces the table of folders between the marks of a page by the content of test/rooms.json. */
export function withRoomsTable(page, rooms) {
  if (!MARKED.test(page)) throw new Error('the page has no marks for the table of folders');
  const rows = rooms.map(({ room, owns, imports }) => {
    const allowed = imports.filter((name) => !['src/errors', 'src/gen', 'src/util'].includes(name));
    return `| \`${room}\` | ${owns} | ${allowed.map(short).join(', ') || '–'} |`;
  });
  const table = [
    '<!-- generated: rooms -->',
    '<!-- from test/rooms.json by `npm run docs` -->',
    '',
    '| folder | what it owns | imports (besides `errors`, `gen`, `util`) |',
    '|---|---|---|',
    ...rows,
    '',
    '<!-- end -->',
  ];
  return page.replace(MARKED, () => table.join('\n'));
}

const short = (room) => room.replace('src/training/', 'training/').replace('src/', '');
