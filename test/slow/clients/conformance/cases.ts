/** What every client must do alike. */
import type { Case } from './case.js';
import { LIFE } from './life-cases.js';
import { REFUSALS } from './refusal-cases.js';
import { SCORES } from './score-cases.js';
import type { SubjectName } from './subjects.js';

/** Whether a subject gets a case. */
export function concerns({ openInference }: Case, subject: SubjectName): boolean {
  return subject !== 'tritonclient' || openInference !== undefined;
}

export const CASES: readonly Case[] = [...SCORES, ...REFUSALS, ...LIFE];
