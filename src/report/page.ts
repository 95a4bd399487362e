/** Builds self-contained HTML pages: they load nothing, contain one script, and are readable without it and in print. */
import { createHash } from 'node:crypto';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';

/** Control characters except tab and newline, and marks of text direction: they must not change how a page is read. */
const INVISIBLE = /[^\P{C}\t\n]|[\p{Zl}\p{Zp}]/gu;

/** Escapes text from outside, such as file names; invisible characters become visible. */
export function escapeHtml(text: string): string {
  return text
    .replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Formats a file name as HTML that does not affect the direction of the text around it. */
export function shownName(name: string): string {
  return `<bdi>${escapeHtml(name)}</bdi>`;
}

/** Formats a table; escapes all cells. */
export function htmlTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => line('td', row)).join('\n');
  return `<div class="wide"><table><thead>${line('th', header)}</thead><tbody>${body}</tbody></table></div>`;
}

/** Formats facts with their names, such as the origin of a page. @param facts trusted HTML on the right side */
export function htmlFacts(facts: readonly (readonly [name: string, html: string])[]): string {
  const rows = facts.map(([name, html]) => `<dt>${escapeHtml(name)}</dt><dd>${html}</dd>`);
  return `<dl class="facts">${rows.join('\n')}</dl>`;
}

function sourceHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** The browser loads nothing from outside of the page, and runs no other script or style, even if text could inject one. */
const POLICY = [
  "default-src 'none'",
  'img-src data:',
  `style-src ${sourceHash(STYLE)}`,
  `script-src ${sourceHash(SCRIPT)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** Builds a page. @param body trusted HTML: text from outside must have been escaped */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style></head>
<body><h1>${escapeHtml(title)}</h1>
${body}
<footer>salad-serve is research software: it ranks and highlights, it never claims a diagnosis.</footer>
<script>${SCRIPT}</script>
</body></html>
`;
}
