/** The style sheet of all reports: light, dark, narrow and in print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --text: #1b1d1f; --soft: #5a6067; --line: #c9ced4; --page: #fff; --panel: #f3f5f7;
  --bad: #a3261b; --good: #1d6b3a; --open: #7a5a00; --link: #0b57a4;
  --map-opacity: 1; --shows-top: visible; --shows-other: hidden; --shows-truth: visible; --shows-area: visible;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e8ea; --soft: #a2a9b0; --line: #454b52; --page: #15171a; --panel: #1f2327;
    --bad: #ff8a7d; --good: #6fd296; --open: #e8c15a; --link: #8ab8f0;
  }
}
html { scroll-padding-top: 4rem; }
body {
  font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; color: var(--text); background: var(--page);
  max-width: 76rem; margin: 1.5rem auto; padding: 0 1rem;
}
a { color: var(--link); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; } h3 { font-size: 1rem; margin: 0; }
h3, dd, figcaption, bdi { overflow-wrap: anywhere; }
td:has(bdi) { min-width: 12rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.5rem 0; font-size: 0.9rem; }
th, td {
  padding: 0.25rem 0.9rem 0.25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums;
}
th button {
  font: inherit; font-weight: 600; text-align: left; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer;
}
th button::after { content: ' \\2195'; color: var(--soft); }
th[aria-sort=ascending] button::after { content: ' \\2191'; color: inherit; }
th[aria-sort=descending] button::after { content: ' \\2193'; color: inherit; }
html:not(.scripted) th button::after { content: ''; }
.facts {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.1rem 1.2rem; font-size: 0.9rem;
  margin: 0.5rem 0;
}
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.note, footer, figcaption { color: var(--soft); font-size: 0.875rem; }
.warning { border-left: 3px solid var(--open); padding-left: 0.6rem; margin: 0.4rem 0; }
.anomalous { color: var(--bad); } .normal { color: var(--good); } .indeterminate { color: var(--open); }
.anomalous, .normal, .indeterminate { font-weight: 600; }
.toolbar {
  position: sticky; top: 0; z-index: 1; display: none; flex-wrap: wrap; gap: 0.3rem 1.4rem; align-items: center;
  background: var(--panel); border: 1px solid var(--line); border-radius: 4px; padding: 0.4rem 0.8rem; margin: 1rem 0;
  font-size: 0.9rem;
}
.scripted .toolbar { display: flex; }
.toolbar label { display: flex; align-items: center; gap: 0.4rem; }
.toolbar output { min-width: 3.2rem; font-variant-numeric: tabular-nums; }
.toolbar svg { width: 26px; height: 14px; background: #444; border-radius: 2px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
section.image { border-top: 1px solid var(--line); margin-top: 1.5rem; padding-top: 1rem; }
section.image:target { border-top: 3px solid var(--link); }
.pair { display: flex; flex-wrap: wrap; gap: 0.75rem 1.25rem; align-items: flex-start; margin: 0.6rem 0; }
.pair figure { margin: 0; flex: 1 1 20rem; max-width: 32rem; }
.picture { display: block; width: 100%; max-height: 80vh; background: #000; }
.picture image { image-rendering: auto; }
.colours { opacity: var(--map-opacity); }
.outline { fill: none; vector-effect: non-scaling-stroke; }
.casing { stroke: #000; stroke-opacity: 0.55; stroke-width: 4; }
.top { stroke: #fff; stroke-width: 2; visibility: var(--shows-top); }
.other { stroke: #fff; stroke-width: 1.2; stroke-dasharray: 5 4; visibility: var(--shows-other); }
.truth { stroke: #58e36b; stroke-width: 2.2; visibility: var(--shows-truth); }
.area { stroke: #c8ccd2; stroke-width: 1; stroke-dasharray: 1 5; visibility: var(--shows-area); }
.casing.area { display: none; }
.toolbar svg .outline { visibility: visible; }
.bar { display: block; width: 100%; height: auto; color: var(--text); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.8rem; margin: 0.5rem 0; }
.sheet figure { margin: 0; } .sheet a { display: block; }
.sheet .picture { aspect-ratio: 1; }
.charts { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; }
.charts svg { color: var(--soft); max-width: 100%; height: auto; }
@media (max-width: 48rem) { .toolbar { position: static; } html { scroll-padding-top: 0; } }
summary { cursor: pointer; }
footer { margin: 2.5rem 0 1rem; border-top: 1px solid var(--line); padding-top: 0.5rem; }
@media print {
  :root { color-scheme: light; --text: #000; --soft: #333; --line: #999; --page: #fff; --bad: #8a1a10; --good: #0f5128;
    --open: #5c4400; --link: #000; }
  body { max-width: none; margin: 0; font-size: 10.5pt; }
  .scripted .toolbar { display: none; }
  .pair figure { flex-basis: 40%; max-width: 48%; }
  section.image, .sheet figure, .charts svg, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .picture, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  th button::after { content: '' !important; }
}
`;
