/** What every client must do alike. */
import type { Case } from './case.js';
import { LIFE } from './life-cases.js';
import { REFUSALS } from './refusal-cases.js';
import { SCORES } from './score-cases.js';

export const CASES: readonly Case[] = [...SCORES, ...REFUSALS, ...LIFE];
