/** A network for batches of any size, from compiled ones of fixed sizes: those are up to five times as fast. */
import type { CompiledNetwork, CompileOptions, OpenVino, TensorData } from './library.js';

/** Of a tensor for so many tiles. */
export type ShapeOf = (tiles: number) => readonly number[];

/** Each size is compiled when it is first needed, and kept. */
export class SizedNetwork {
  private readonly bySize = new Map<number, CompiledNetwork>();

  constructor(
    private readonly vino: OpenVino,
    private readonly onnx: Uint8Array,
    private readonly inputShape: ShapeOf,
    private readonly outputShapes: readonly ShapeOf[],
    private readonly options: CompileOptions,
  ) {}

  /** @param size tiles: a power of four */
  run(size: number, input: TensorData, outputs: readonly TensorData[]): void {
    const network = this.ofSize(size);
    network.run(
      { shape: this.inputShape(size), data: input },
      outputs.map((data, index) => ({ shape: this.outputShapes[index]!(size), data })),
    );
  }

  /** Compiles it now, not in the middle of somebody's acquisition. */
  prepare(size: number): void {
    this.ofSize(size);
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
