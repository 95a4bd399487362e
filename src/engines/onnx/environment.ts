/**
 * Environment variables that must be set before onnxruntime is loaded. Since 1.30 its package for Node stores a device
 * identifier and usage records in the cache folder and would send them to Microsoft. A hospital's server must not send
 * such data.
 */
export const ONNX_ENVIRONMENT: Readonly<Record<string, string>> = { ORT_DISABLE_TELEMETRY: '1' };
