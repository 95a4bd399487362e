/** The script of a report's page: opacity of the maps, outlines on and off, order of tables. */
export const SCRIPT = `
'use strict';
const root = document.documentElement;
root.classList.add('scripted');
for (const slider of document.querySelectorAll('input[data-opacity]')) {
  const output = slider.nextElementSibling;
  const update = () => {
    root.style.setProperty('--map-opacity', String(slider.value / 100));
    output.textContent = slider.value + ' %';
  };
  slider.addEventListener('input', update);
  update();
}
for (const box of document.querySelectorAll('input[data-shows]')) {
  const update = () =>
    root.style.setProperty('--shows-' + box.dataset.shows, box.checked ? 'visible' : 'hidden');
  box.addEventListener('change', update);
  update();
}
const keyOf = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
const compare = (a, b) => {
  const [x, y] = [Number.parseFloat(a), Number.parseFloat(b)];
  if (String(x) === a && String(y) === b) return x - y;
  // Rows without a number come last.
  if (String(x) === a || String(y) === b) return String(x) === a ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
};
for (const table of document.querySelectorAll('table[data-sortable]')) {
  const headers = [...table.tHead.rows[0].cells];
  for (const [column, header] of headers.entries()) {
    header.querySelector('button').addEventListener('click', () => {
      const order = header.getAttribute('aria-sort') === 'descending' ? 'ascending' : 'descending';
      const sign = order === 'descending' ? -1 : 1;
      for (const other of headers) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', order);
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => sign * compare(keyOf(a, column), keyOf(b, column)));
      table.tBodies[0].append(...rows);
    });
  }
}
`;
