import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import { chooseLayout, type DataPurpose } from '../../../../src/training/data/layout.js';

/** The used folders as `folder=label`, and what is left out. */
function layout(purpose: DataPurpose, files: readonly string[], normal: readonly string[] = []) {
  const images = files.map((path) => ({ parts: path.split('/'), path, bytes: 1 }));
  const { root, classes, excluded } = chooseLayout(images, purpose, normal, 'data');
  return {
    root: root.join('/'),
    used: classes.map(({ parts, label }) => `${parts.join('/') || '.'}=${label}`),
    excluded: excluded.map(({ path, files: count }) => `${path} ${count}`),
  };
}

function refused(
  purpose: DataPurpose,
  files: readonly string[],
  pattern: RegExp,
  normal: readonly string[] = [],
) {
  assert.throws(
    () => layout(purpose, files, normal),
    (error) => {
      assert.ok(error instanceof SaladError && error.reason === 'TRAINING_DATA_INVALID');
      assert.match(error.message, pattern);
      return true;
    },
  );
}

const KAGGLE = [
  ...['NORMAL', 'PNEUMONIA'].flatMap((name) => [
    `train/${name}/1.jpeg`,
    `train/${name}/2.jpeg`,
    `test/${name}/1.jpeg`,
    `val/${name}/1.jpeg`,
  ]),
  'chest_xray/train/NORMAL/1.jpeg',
];
const MVTEC = [
  'train/good/000.png',
  'test/good/000.png',
  'test/broken_large/000.png',
  'test/contamination/000.png',
  'ground_truth/broken_large/000_mask.png',
];

describe('layout of a data folder', () => {
  for (const [normal, other] of [
    ['NORMAL', 'PNEUMONIA'],
    ['Normal', 'Effusion'],
    ['good', 'broken'],
    ['No Finding', 'mass'],
    ['healthy', 'ill'],
  ]) {
    it(`uses ${normal}/ beside ${other}/ as the normal class`, () => {
      const files = [`${normal}/a.png`, `${other}/b.png`, `${other}/c.png`, 'loose.png'];
      const loose = 'loose.png 1';
      assert.deepEqual(layout('evaluate', files), {
        root: '',
        used: [`${normal}=normal`, `${other}=${other}`],
        excluded: [loose],
      });
      for (const purpose of ['train', 'calibrate'] as const) {
        assert.deepEqual(layout(purpose, files), {
          root: '',
          used: [`${normal}=normal`],
          excluded: [loose, `${other}/ 2`],
        });
      }
    });
  }

  it('uses the split for the command in a Kaggle data set', () => {
    assert.deepEqual(layout('train', KAGGLE), {
      root: 'train',
      used: ['train/NORMAL=normal'],
      excluded: ['train/PNEUMONIA/ 2', 'test/ 2', 'val/ 2', 'chest_xray/ 1'],
    });
    assert.deepEqual(layout('calibrate', KAGGLE).used, ['train/NORMAL=normal']);
    assert.deepEqual(layout('evaluate', KAGGLE).used, ['test/NORMAL=normal', 'test/PNEUMONIA=PNEUMONIA']);
  });

  it('uses the split for the command in an MVTec data set, without masks', () => {
    assert.deepEqual(layout('train', MVTEC), {
      root: 'train',
      used: ['train/good=normal'],
      excluded: ['test/ 3', 'ground_truth/ 1'],
    });
    assert.deepEqual(layout('evaluate', MVTEC), {
      root: 'test',
      used: ['test/good=normal', 'test/broken_large=broken_large', 'test/contamination=contamination'],
      excluded: ['train/ 1', 'ground_truth/ 1'],
    });
  });

  it('leaves out masks at any depth', () => {
    assert.deepEqual(layout('train', ['normal/a.png', 'normal/masks/a.png', 'masks/normal/a.png']), {
      root: '',
      used: ['normal=normal'],
      excluded: ['normal/masks/ 1', 'masks/ 1'],
    });
  });

  it('refuses an ambiguous folder', () => {
    refused('train', ['normal/a.png', 'Normal/b.png'], /normal\/, Normal\/|Normal\/, normal\//);
    refused('train', ['normal/a.png', 'good/b.png', 'x/c.png'], /good\/, normal\//);
    refused(
      'train',
      ['PNEUMONIA/a.png', 'COVID/b.png'],
      /COVID\/, PNEUMONIA\/ and none that is called normal/,
    );
    refused('evaluate', ['p001/a.png', 'p002/b.png', 'loose.png'], /--normal/);
    refused('train', ['normal/a.png', 'train/good/b.png'], /ambiguous/);
    refused('evaluate', ['train/good/a.png', 'val/good/b.png'], /none of them is a test\//);
    refused('train', ['train/a.png', 'test/b.png'], /train\/ holds images directly/);
    refused('train', ['train/x/a.png', 'train/y/b.png'], /data\/train has the folders x\/, y\//);
  });

  it('uses the folders named with --normal', () => {
    const files = ['A/a.png', 'B/b.png', 'C/c.png'];
    assert.deepEqual(layout('evaluate', files, ['B', 'C']).used, ['B=normal', 'C=normal', 'A=A']);
    assert.deepEqual(layout('train', files, ['B']).excluded, ['A/ 1', 'C/ 1']);
    assert.deepEqual(layout('train', ['p1/a.png', 'b.png', 'masks/b.png'], ['.']), {
      root: '',
      used: ['.=normal'],
      excluded: ['masks/ 1'],
    });
    assert.throws(() => layout('train', files, ['D']), {
      reason: 'CONFIGURATION_INVALID',
      message: /--normal D: data has no such folder/,
    });
  });
});
