/** Entry file of a worker thread. */
import { createEngine } from '../src/engines/selection/select.js';
import { createTaskHandler } from './task-handler.js';

export default createTaskHandler(createEngine);
