/** A self-contained HTML page: it loads nothing, runs one script of its own, and is readable without it and in print. */
import { createHash } from 'node:crypto';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';

/** Control characters but tab and newline, and marks of text direction: they must not change how a page reads. */
const INVISIBLE = /[^\P{C}\t\n]|[\p{Zl}\p{Zp}]/gu;

/** Escapes text of other origin, such as file names; invisible characters become visible. */
export function escapeHtml(text: string): string {
  return text
    .replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A file name as HTML, which does not affect the direction of the text around it. */
export function shownName(name: string): string {
  return `<bdi>${escapeHtml(name)}</bdi>`;
}

/** Escapes all cells. */
export function htmlTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => line('td', row)).join('\n');
  return `<div class="wide"><table><thead>${line('th', header)}</thead><tbody>${body}</tbody></table></div>`;
}

/** Facts by name, such as where a page came from. @param facts trusted HTML on the right side */
export function htmlFacts(facts: readonly (readonly [name: string, html: string])[]): string {
  const rows = facts.map(([name, html]) => `<dt>${escapeHtml(name)}</dt><dd>${html}</dd>`);
  return `<dl class="facts">${rows.join('\n')}</dl>`;
}

function sourceHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** Nothing is loaded but what the page itself holds; no other script or style runs, whatever text came into it. */
const POLICY = [
  "default-src 'none'",
  'img-src data:',
  `style-src ${sourceHash(STYLE)}`,
  `script-src ${sourceHash(SCRIPT)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

/** @param body trusted HTML: escape what comes from outside before it gets here. */
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
