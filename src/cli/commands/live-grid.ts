/** Patch scores as a grid of coloured cells that fills while they arrive; for terminals only. */
export class LiveGrid {
  readonly #rows: number;
  readonly #columns: number;
  readonly #z: Float64Array;
  readonly #out: NodeJS.WriteStream;
  #drawn = false;

  constructor(rows: number, columns: number, out: NodeJS.WriteStream) {
    this.#rows = rows;
    this.#columns = columns;
    this.#z = new Float64Array(rows * columns).fill(Number.NaN);
    this.#out = out;
  }

  /** @param robustZ of the patch; the colour runs from blue (0) through yellow to red (6 and above). */
  set(row: number, column: number, robustZ: number): void {
    this.#z[row * this.#columns + column] = robustZ;
  }

  draw(status: string): void {
    if (this.#drawn) this.#out.write(`\u001b[${this.#rows + 1}A`);
    this.#drawn = true;
    let text = '';
    for (let row = 0; row < this.#rows; row++) {
      for (let column = 0; column < this.#columns; column++) {
        text += cell(this.#z[row * this.#columns + column] ?? Number.NaN);
      }
      text += '\u001b[0m\u001b[K\n';
    }
    this.#out.write(`${text}${status}\u001b[K\n`);
  }
}

/** xterm 256-colour backgrounds from calm to hot. */
const COLOURS = [17, 18, 19, 25, 31, 37, 71, 107, 143, 179, 214, 208, 202, 196] as const;

function cell(z: number): string {
  if (Number.isNaN(z)) return '\u001b[0m\u001b[2m· \u001b[0m';
  const index = Math.max(0, Math.min(COLOURS.length - 1, Math.round((z / 6) * (COLOURS.length - 1))));
  return `\u001b[48;5;${COLOURS[index]}m  `;
}
