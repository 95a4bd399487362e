/** Worker entry: one engine thread. */
import { createEngine } from '../src/engines/selection/select.js';
import { createHandler } from './handler.js';

export default createHandler(createEngine);
