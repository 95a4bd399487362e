import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { stateOfAll } from '../../../../src/server/processes/serving-state.js';

const serving = {
  isServing: true,
  fallbackOrder: ['onnx', 'wasm'],
  engines: ['onnx'],
  models: ['small', 'small@1', 'small@2'],
};

describe('the state of several processes', () => {
  it('serves where one does, and has the models that every one of those has', () => {
    const other = { ...serving, engines: ['wasm'], models: ['small', 'small@1'] };
    const lost = { ...serving, isServing: false, engines: [], models: [] };
    assert.deepEqual(stateOfAll([serving, other, lost]), {
      isServing: true,
      fallbackOrder: ['onnx', 'wasm'],
      engines: ['onnx', 'wasm'],
      models: ['small', 'small@1'],
    });
  });

  it('does not serve where none does', () => {
    const lost = { ...serving, isServing: false, engines: [], models: [] };
    const expected = { isServing: false, fallbackOrder: ['onnx', 'wasm'], engines: [], models: [] };
    assert.deepEqual(stateOfAll([lost, lost]), expected);
    assert.deepEqual(stateOfAll([]), { ...expected, fallbackOrder: [] });
  });
});
