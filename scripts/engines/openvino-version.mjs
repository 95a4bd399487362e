/** Of PyPI's `openvino`, whose C library the engine of that name was tested with. */
export const OPENVINO_VERSION = '2026.4.1';
