/** Draws patch scores as a grid of coloured cells, updated while scores arrive; for terminals only. */
export class LiveGrid {
  readonly #rows: number;
  readonly #columns: number;
  readonly #robustZ: Float64Array;
  readonly #out: NodeJS.WriteStream;
  #isDrawn = false;

  constructor(rows: number, columns: number, out: NodeJS.WriteStream) {
    this.#rows = rows;
    this.#columns = columns;
    this.#robustZ = new Float64Array(rows * columns).fill(Number.NaN);
    this.#out = out;
  }

  /** @param robustZ of the patch; the colour runs from blue (0) through yellow to red (6 and above). */
  set(row: number, column: number, robustZ: number): void {
    this.#robustZ[row * this.#columns + column] = robustZ;
  }

  draw(status: string): void {
    // Moves the cursor up to draw over the previous grid and its status line.
    if (this.#isDrawn) this.#out.write(`\u001b[${this.#rows + 1}A`);
    this.#isDrawn = true;
    let text = '';
    for (let row = 0; row < this.#rows; row++) {
      for (let column = 0; column < this.#columns; column++) {
        text += cellText(this.#robustZ[row * this.#columns + column] ?? Number.NaN);
      }
      text += '\u001b[0m\u001b[K\n';
    }
    this.#out.write(`${text}${status}\u001b[K\n`);
  }
}

/** Background colours of the xterm 256-colour palette, from low to high scores. */
const COLOURS = [17, 18, 19, 25, 31, 37, 71, 107, 143, 179, 214, 208, 202, 196] as const;

/** @param robustZ NaN: not scored yet */
function cellText(robustZ: number): string {
  if (Number.isNaN(robustZ)) return '\u001b[0m\u001b[2m· \u001b[0m';
  const index = Math.max(0, Math.min(COLOURS.length - 1, Math.round((robustZ / 6) * (COLOURS.length - 1))));
  return `\u001b[48;5;${COLOURS[index]}m  `;
}
