/**
 * What must stand in the environment before onnxruntime is loaded. Since 1.30 its package for Node keeps a device
 * identifier and a record of its use under the cache folder and would send them to Microsoft: a hospital's server
 * tells nobody what it does.
 */
export const ONNX_ENVIRONMENT: Readonly<Record<string, string>> = { ORT_DISABLE_TELEMETRY: '1' };
