/** Entry of a decoder process: serves on the channel that its parent opened as file descriptor 3. */
import { Socket } from 'node:net';
import { serveDecoder } from '../src/dicom/decoder/service.js';

serveDecoder(new Socket({ fd: 3, readable: true, writable: true }));
