// `node scripts/viewer/main.mjs --archive URL [--port N]`: shows the studies of a DICOMweb service, and the results that
// the gateway sent there, in the OHIF viewer, which is downloaded from npm once. Prints the address to open; Ctrl-C ends it.
import { parseArgs } from 'node:util';
import { ensureOhif } from './ohif.mjs';
import { startViewer } from './server.mjs';

const USAGE = `usage: node scripts/viewer/main.mjs --archive URL [--port N]
  --archive  DICOMweb service, such as http://127.0.0.1:8042/dicom-web
  --port     of the viewer on 127.0.0.1 (default: a free one)`;

function options() {
  const { archive, port } = parseArgs({
    options: { archive: { type: 'string' }, port: { type: 'string', default: '0' } },
  }).values;
  if (!/^https?:/.test(archive ?? '') || !URL.canParse(archive)) {
    throw new Error('--archive needs the URL of a DICOMweb service');
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new Error('--port needs a number, 0 to 65535');
  return { archive, port: Number(port) };
}

let chosen;
try {
  chosen = options();
} catch ({ message }) {
  console.error(`viewer: ${message}\n${USAGE}`);
  process.exit(2);
}
const viewer = await startViewer({ folder: ensureOhif(), ...chosen });
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void viewer.close());
console.log(viewer.url);
