/** Types of onnxruntime-node. The library itself is imported only when the engine is created. */
import type { InferenceSession } from 'onnxruntime-node';

export type OnnxRuntime = typeof import('onnxruntime-node');
export type OpenSession = (onnx: Uint8Array) => Promise<InferenceSession>;
