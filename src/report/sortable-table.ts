/** Builds tables that a reader can sort by a column. */
import { escapeHtml } from './page.js';

export interface Cell {
  /** Trusted HTML. */
  readonly html: string;
  /** Sort key; absent: the text. */
  readonly key?: number | string;
}

/** Formats a number; a dash where there is none. */
export function numberCell(value: number | undefined, digits: number): Cell {
  if (value === undefined || Number.isNaN(value)) return { html: '–', key: '' };
  return { html: value.toFixed(digits), key: value };
}

export function textCell(text: string): Cell {
  return { html: escapeHtml(text), key: text };
}

/** @param sortedBy index of the column by which the rows are in order, highest first */
export function sortableTable(
  columns: readonly string[],
  rows: readonly (readonly Cell[])[],
  sortedBy: number,
): string {
  const header = columns.map((name, index) => {
    const sort = index === sortedBy ? ' aria-sort="descending"' : '';
    return `<th scope="col"${sort}><button type="button">${escapeHtml(name)}</button></th>`;
  });
  const cell = ({ html, key }: Cell): string =>
    `<td${key === undefined ? '' : ` data-sort="${escapeHtml(String(key))}"`}>${html}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n');
  return `<div class="wide"><table data-sortable><thead><tr>${header.join('')}</tr></thead><tbody>${body}</tbody></table></div>`;
}
