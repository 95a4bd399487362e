/** Builds self-contained HTML pages: no scripts, no external files, readable in print and in dark mode. */

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function htmlTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${line('th', header)}${rows.map((row) => line('td', row)).join('')}</table>`;
}

/** An `img` element that contains the PNG. `width` is in CSS pixels. */
export function pngImage(png: Uint8Array, alt: string, width: number): string {
  const data = Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64');
  return `<img alt="${escapeHtml(alt)}" width="${width}" src="data:image/png;base64,${data}">`;
}

/** @param body trusted HTML: the caller escapes all text of other origin */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  table { border-collapse: collapse; margin: 0.75rem 0; }
  th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums; }
  figure { display: inline-block; margin: 0.5rem 1rem 0.5rem 0; vertical-align: top; }
  figcaption { font-size: 0.85rem; max-width: 24rem; }
  img { image-rendering: auto; background: #000; height: auto; }
  .note { color: #777; }
</style></head>
<body><h1>${escapeHtml(title)}</h1>
${body}
<p class="note">salad-serve is research software: it ranks and highlights; it does not make a diagnosis.</p>
</body></html>
`;
}
