/** Blank images, and blank beginnings of images, on a streamable model without background. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Decision, EarlyEnd, WarningKind } from '../../src/gen/salad/v1/types.js';
import { end, header, rows, stream, tiles } from '../support/protocol/grpc-client.js';
import {
  allTiles,
  assertScores,
  directScores,
  image,
  type Serving,
  startServing,
  TILE_SOURCE,
  v1,
} from '../support/servers/serving.js';

describe('a blank image on a streaming model', function () {
  this.timeout(60_000);
  let serving: Serving;

  before(async () => {
    serving = await startServing();
  });
  after(() => serving.stop());

  const black = new Uint8Array(64 * 64);

  it('has no patch scored, as rows and as tiles', async () => {
    const byRows = [header(v1), rows(black, 64, 0, 30), rows(black, 64, 30, 64), end()];
    const byTiles = [header({ ...v1, ...TILE_SOURCE }), tiles(allTiles(black)), end()];
    for (const payloads of [byRows, byTiles]) {
      const { kinds, aggregate } = await stream(serving.client, payloads);
      assert.deepEqual(kinds, ['accepted', 'aggregate']);
      const { decision, coverage, warnings } = aggregate;
      assert.equal(decision, Decision.DECISION_INDETERMINATE);
      assert.deepEqual([coverage?.scored, coverage?.skipped, coverage?.missing], [0, 64, 0]);
      assert.deepEqual(
        warnings.map(({ kind }) => kind),
        [WarningKind.WARNING_KIND_NOTHING_SCORED],
      );
    }
  });

  it('loses no tile where only its beginning is blank: held tiles are scored like the others', async () => {
    const late = Uint8Array.from(image, (value, at) => (at < 40 * 64 ? 0 : value));
    const expected = await directScores(serving.bundle, late);
    const byRows = Array.from({ length: 8 }, (_, i) => rows(late, 64, 8 * i, 8 * i + 8));
    assertScores(await stream(serving.client, [header(v1), ...byRows, end()]), expected);
    const byTiles = allTiles(late).map((each) => tiles([each]));
    assertScores(
      await stream(serving.client, [header({ ...v1, ...TILE_SOURCE }), ...byTiles, end()]),
      expected,
    );
  });

  it('is partial, not blank alone, where it ends early', async () => {
    const options = { earlyEnd: EarlyEnd.EARLY_END_PARTIAL };
    const { aggregate } = await stream(serving.client, [header({ ...v1, options }), rows(black, 64, 0, 40)]);
    assert.equal(aggregate.decision, Decision.DECISION_INDETERMINATE);
    assert.deepEqual([aggregate.coverage?.scored, aggregate.coverage?.skipped], [0, 32]);
    assert.deepEqual(aggregate.warnings.map(({ kind }) => kind).sort(), [
      WarningKind.WARNING_KIND_PARTIAL,
      WarningKind.WARNING_KIND_NOTHING_SCORED,
    ]);
  });
});
