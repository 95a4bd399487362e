import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { outcomeOf } from '../../../../clients/modality/src/delivery/stow-client.js';
import { failedAnswer, type StowAnswerSent, storedAnswer } from '../../../support/dicom/stow-archive.js';

const OBJECT = { sopClassUid: '1.2.840.10008.5.1.4.1.1.88.33', sopInstanceUid: '2.25.17' };
const OTHER = { ...OBJECT, sopInstanceUid: '2.25.178' };
const UNCLEAR = 'HTTP 200, and the answer does not name the object as stored';

const outcome = ({ status, body = '' }: StowAnswerSent) => outcomeOf(status, body, OBJECT.sopInstanceUid);
const resultsOf = (...answers: readonly StowAnswerSent[]) => answers.map((each) => outcome(each).result);

/** As dcm4chee writes it. */
function xml(sequences: string): StowAnswerSent {
  const body = `<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xml:space="preserve">${sequences}</NativeDicomModel>`;
  return { status: 200, body };
}
const xmlElement = (tag: string, vr: string, content: string) =>
  `<DicomAttribute keyword="Any" tag="${tag}" vr="${vr}">${content}</DicomAttribute>`;
const xmlSequence = (tag: string, uid: string, more = '') =>
  xmlElement(
    tag,
    'SQ',
    `<Item number="1">${more}${xmlElement('00081155', 'UI', `<Value number="1">${uid}</Value>`)}</Item>`,
  );
const xmlReason = (reason: number) => xmlElement('00081197', 'US', `<Value number="1">${reason}</Value>`);

describe('the answer to a STOW-RS request', () => {
  it('that names the object as stored ends its delivery, also with a warning', () => {
    const inArray = { status: 200, body: `[${storedAnswer(OBJECT).body}]` };
    assert.deepEqual(resultsOf(storedAnswer(OBJECT), storedAnswer(OBJECT, 0xb000), inArray), [
      ...['delivered', 'delivered', 'delivered'],
    ]);
  });

  it('that is success and does not name the object leaves it to be sent again', () => {
    const answers = [
      '',
      'no JSON',
      '<!DOCTYPE html><title>Log in</title>',
      '{}',
      'null',
      '[]',
      '{"00081199":7}',
    ];
    for (const body of answers) {
      const expected = { result: 'unavailable', reason: UNCLEAR, cause: 'archiveOrObject' };
      assert.deepEqual(outcome({ status: 200, body }), expected, body);
    }
    assert.deepEqual(resultsOf(storedAnswer(OTHER), { status: 204 }), ['unavailable', 'unavailable']);
  });

  it('that names a failure says whether the object was refused', () => {
    assert.deepEqual(
      resultsOf(
        failedAnswer(409, 0x0111, OBJECT),
        failedAnswer(409, 0xa700, OBJECT),
        failedAnswer(200, 0x0110, OBJECT),
        failedAnswer(202, 0xc000),
        failedAnswer(200),
        {
          status: 200,
          body: JSON.stringify({ ...parsed(storedAnswer(OBJECT)), ...parsed(failedAnswer(200, 0xa900)) }),
        },
      ),
      ['delivered', 'unavailable', 'unavailable', 'rejected', 'rejected', 'rejected'],
    );
    assert.equal(outcome(failedAnswer(202, 0xc000)).reason, 'HTTP 202, failure reason 0xc000');
  });

  it('is read in XML, too', () => {
    const empty = xmlElement('00081198', 'SQ', '');
    assert.deepEqual(
      resultsOf(
        xml(xmlSequence('00081199', '2.25.17')),
        xml(empty + xmlSequence('00081199', '2.25.17')),
        xml(xmlSequence('00081199', '2.25.178')),
        xml(xmlSequence('00081198', '2.25.17', xmlReason(0xa900))),
        xml(xmlSequence('00081198', '2.25.17', xmlReason(0x0110))),
        xml(xmlSequence('00081198', '2.25.17')),
        xml(''),
      ),
      ['delivered', 'delivered', 'unavailable', 'rejected', 'unavailable', 'rejected', 'unavailable'],
    );
  });

  it('without a body counts by its status', () => {
    const statuses = [400, 409, 401, 429, 500, 503, 302];
    assert.deepEqual(resultsOf(...statuses.map((status) => ({ status }))), [
      ...['rejected', 'rejected', 'unavailable', 'unavailable', 'unavailable', 'unavailable', 'unavailable'],
    ]);
  });
});

function parsed({ body }: StowAnswerSent): object {
  return JSON.parse(body!) as object;
}
