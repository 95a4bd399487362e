/** OpenVINO's C API through koffi: compiles networks for the processor and runs them in the calling thread. */
import { SaladError } from '../../errors/index.js';
import {
  checkStatus,
  type Functions,
  type Koffi,
  loadFunctions,
  outputOf,
  type Pointer,
  type TensorData,
} from './functions.js';

const DEVICE = 'CPU';
/** ov_element_type_e. */
const F32 = 4;
const U8 = 16;

export type { TensorData } from './functions.js';

export interface Tensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export interface CompileOptions {
  readonly threads: number;
  readonly precision: 'f32' | 'bf16';
}

/** A network with one input, compiled for one shape. */
export interface CompiledNetwork {
  /**
   * Reads and writes the tensors in place; blocks the thread.
   * @throws Error with OpenVINO's message; RangeError where a tensor is shorter than its shape.
   */
  run(input: Tensor, outputs: readonly Tensor[]): void;
  dispose(): void;
}

/** One OpenVINO core. */
export interface OpenVino {
  /** Such as 2026.4.1. */
  readonly version: string;
  readonly processor: string;
  /** Number formats of its kernels for this processor: FP32, BF16, INT8 and more. */
  readonly capabilities: readonly string[];
  /** @throws Error with OpenVINO's message. */
  compile(onnx: Uint8Array, inputShape: readonly number[], options: CompileOptions): CompiledNetwork;
  /** Call it after `dispose` of every network it compiled. */
  dispose(): void;
}

/**
 * @param folder of the libraries; empty: the one that `npm run engines:openvino` fills
 * @throws SaladError ENGINE_UNAVAILABLE with the reason.
 */
export async function openOpenVino(folder: string): Promise<OpenVino> {
  try {
    const { koffi, functions } = await loadFunctions(folder);
    return new Core(koffi, functions);
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new SaladError(
      'ENGINE_UNAVAILABLE',
      `openvino does not load: ${message}; see docs/explanation/engines.md`,
      {
        cause: error,
      },
    );
  }
}

class Core implements OpenVino {
  readonly version: string;
  readonly processor: string;
  readonly capabilities: readonly string[];
  private readonly core: Pointer;

  constructor(
    private readonly koffi: Koffi,
    private readonly functions: Functions,
  ) {
    const version: { buildNumber?: string } = {};
    checkStatus(functions, functions.ov_get_openvino_version(version));
    this.version = version.buildNumber?.split('-')[0] ?? 'of unknown version';
    this.core = outputOf(functions, (core) => functions.ov_core_create(core));
    this.processor = this.property('FULL_DEVICE_NAME').trim();
    this.capabilities = this.property('OPTIMIZATION_CAPABILITIES').split(/[\s,]+/);
  }

  private property(key: string): string {
    const { functions, core } = this;
    const text = outputOf(functions, (value) => functions.ov_core_get_property(core, DEVICE, key, value));
    const value = this.koffi.decode(text, 'char', -1) as string;
    functions.ov_free(text);
    return value;
  }

  compile(
    onnx: Uint8Array,
    inputShape: readonly number[],
    { threads, precision }: CompileOptions,
  ): CompiledNetwork {
    const { functions, core } = this;
    const properties = Object.entries({
      NUM_STREAMS: '1',
      INFERENCE_NUM_THREADS: String(threads),
      INFERENCE_PRECISION_HINT: precision,
      // Other processes use the same cores.
      ENABLE_CPU_PINNING: 'NO',
    }).flat();
    const model = outputOf(functions, (out) =>
      functions.ov_core_read_model_from_memory_buffer(core, onnx, onnx.byteLength, null, out),
    );
    try {
      const shape = {};
      const dims = BigInt64Array.from(inputShape, BigInt);
      checkStatus(functions, functions.ov_partial_shape_create_static(dims.length, dims, shape));
      const reshaped = functions.ov_model_reshape_single_input(model, shape);
      functions.ov_partial_shape_free(shape);
      checkStatus(functions, reshaped);
      const compiled = outputOf(functions, (out) =>
        functions.ov_core_compile_model_props(core, model, DEVICE, properties.length / 2, properties, out),
      );
      return new Network(functions, compiled);
    } finally {
      functions.ov_model_free(model);
    }
  }

  dispose(): void {
    this.functions.ov_core_free(this.core);
  }
}

class Network implements CompiledNetwork {
  private readonly request: Pointer;

  constructor(
    private readonly functions: Functions,
    private readonly compiled: Pointer,
  ) {
    this.request = outputOf(functions, (out) =>
      functions.ov_compiled_model_create_infer_request(compiled, out),
    );
  }

  run(input: Tensor, outputs: readonly Tensor[]): void {
    const { functions, request } = this;
    const tensors: Pointer[] = [];
    try {
      const inputTensor = createTensor(functions, input);
      tensors.push(inputTensor);
      checkStatus(functions, functions.ov_infer_request_set_input_tensor_by_index(request, 0, inputTensor));
      for (const [index, output] of outputs.entries()) {
        const outputTensor = createTensor(functions, output);
        tensors.push(outputTensor);
        checkStatus(
          functions,
          functions.ov_infer_request_set_output_tensor_by_index(request, index, outputTensor),
        );
      }
      checkStatus(functions, functions.ov_infer_request_infer(request));
    } finally {
      // The request keeps its own references until it gets other tensors; it reads and writes only during a run.
      for (const tensor of tensors) functions.ov_tensor_free(tensor);
    }
  }

  dispose(): void {
    this.functions.ov_infer_request_free(this.request);
    this.functions.ov_compiled_model_free(this.compiled);
  }
}

function createTensor(functions: Functions, { shape, data }: Tensor): Pointer {
  const length = shape.reduce((product, size) => product * size, 1);
  if (data.length < length) throw new RangeError(`a tensor of ${length} values has only ${data.length}`);
  // V8 keeps small arrays in its heap, where it may move them, until their `buffer` is read: this line reads it.
  if (data.buffer.byteLength === 0) throw new RangeError('a tensor has no memory');
  const type = data instanceof Float32Array ? F32 : U8;
  const dims = { rank: shape.length, dims: BigInt64Array.from(shape, BigInt) };
  return outputOf(functions, (out) => functions.ov_tensor_create_from_host_ptr(type, dims, data, out));
}
