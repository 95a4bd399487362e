/** Version of the PyPI package `openvino` whose C library the engine `openvino` was tested with. */
export const OPENVINO_VERSION = '2026.4.1';

/** SHA-256 of the wheel for each platform. */
export const OPENVINO_HASHES = {
  manylinux_2_28_x86_64: '2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf',
  manylinux_2_35_aarch64: 'bea1eb3733c34ef331adc945da0ccda5937865031139073663be84c517ffda22',
  macosx_11_0_arm64: 'd3740853691ae4a9003bc3417a4625d848e2cc3251af4b815c59199b38be252a',
  win_amd64: 'bfddae6d6d3ad240157b946f180c33d0ddfaaae7487995d929a4e6b4bc12b283',
};
