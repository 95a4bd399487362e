/** Types of onnxruntime-node, which is loaded only when the engine is. */
import type { InferenceSession } from 'onnxruntime-node';

export type OnnxRuntime = typeof import('onnxruntime-node');
export type OpenSession = (onnx: Uint8Array) => Promise<InferenceSession>;
