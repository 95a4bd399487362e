/** Engine worker of server.ts. */
import { createTaskHandler } from '../../../workers/task-handler.js';
import { createExportedGraphEngine } from './engine.js';

export default createTaskHandler(createExportedGraphEngine);
