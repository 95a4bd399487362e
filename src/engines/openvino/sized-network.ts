/** A network for batches of any size, from compiled ones of fixed sizes: those are up to five times as fast. */
import type { CompiledNetwork, CompileOptions, OpenVino } from './library.js';

/** A network, the first tile of its piece of a batch, and how many it takes. */
export interface Piece {
  readonly network: CompiledNetwork;
  readonly first: number;
  readonly count: number;
}

/** Powers of two: a batch of 13 tiles runs as 8, 4 and 1. Each is compiled when it is first needed, and kept. */
export class SizedNetwork {
  private readonly bySize = new Map<number, CompiledNetwork>();

  /**
   * @param inputShape of so many tiles
   * @param maxTiles of one run; larger batches take several
   */
  constructor(
    private readonly vino: OpenVino,
    private readonly onnx: Uint8Array,
    private readonly inputShape: (tiles: number) => readonly number[],
    private readonly maxTiles: number,
    private readonly options: CompileOptions,
  ) {}

  /** What a batch of so many tiles is run in, one after another. */
  *pieces(count: number): Generator<Piece> {
    for (let first = 0; first < count; ) {
      const size = 2 ** Math.floor(Math.log2(Math.min(count - first, this.maxTiles)));
      yield { network: this.ofSize(size), first, count: size };
      first += size;
    }
  }

  dispose(): void {
    for (const network of this.bySize.values()) network.dispose();
    this.bySize.clear();
  }

  private ofSize(size: number): CompiledNetwork {
    let network = this.bySize.get(size);
    if (network === undefined) {
      network = this.vino.compile(this.onnx, this.inputShape(size), this.options);
      this.bySize.set(size, network);
    }
    return network;
  }
}
