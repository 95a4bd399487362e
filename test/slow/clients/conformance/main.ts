/** `npm run -s conformance -- [--json] [SUBJECT …]`: the table of cases and clients; ends with 1 where one fails. */
import { isPassed, runConformance } from './runner.js';
import { SUBJECTS, type SubjectName } from './subjects.js';

const args = process.argv.slice(2);
const named = args.filter((arg) => arg !== '--json');
const unknown = named.filter((name) => !SUBJECTS.includes(name as SubjectName));
if (unknown.length > 0) {
  console.error(`conformance: no client ${unknown.join(', ')}; clients: ${SUBJECTS.join(', ')}`);
  process.exit(2);
}
const subjects = named.length > 0 ? (named as SubjectName[]) : SUBJECTS;
const verdicts = await runConformance(subjects);
const failed = verdicts.filter((verdict) => !isPassed(verdict));
if (args.includes('--json')) console.log(JSON.stringify(verdicts, undefined, 2));
else {
  console.log(`${''.padEnd(48)} ${subjects.join('  ')}`);
  for (const name of new Set(verdicts.map((verdict) => verdict.case))) {
    const marks = subjects.map((subject) => {
      const verdict = verdicts.find((each) => each.subject === subject && each.case === name);
      // Not every client gets every case.
      if (verdict === undefined) return '-'.padEnd(subject.length);
      const mark = verdict.knownFailure === undefined ? 'ok' : 'known';
      return (isPassed(verdict) ? mark : 'FAILED').padEnd(subject.length);
    });
    console.log(`${name.padEnd(48)} ${marks.join('  ')}`);
  }
  for (const { subject, case: name, faults } of failed)
    console.log(`${subject}, ${name}: ${faults.join('; ')}`);
}
console.error(`conformance: ${verdicts.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);
