// Serves the OHIF viewer and, below `/dicom-web`, the DICOMweb service of an archive, so that the browser needs one origin.
import { createReadStream, readdirSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { extname, join, relative } from 'node:path';

const MOUNT = '/dicom-web';
const CONFIG = '/app-config.js';
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
};
/** Cross-origin isolation: the browser gives the decoders of the viewer shared memory. */
const ISOLATION = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
};

/** The settings of OHIF: one data source, this server. */
const settings = {
  routerBasename: '/',
  extensions: [],
  modes: [],
  showStudyList: true,
  showErrorDetails: 'always',
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'archive',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'archive',
      configuration: {
        friendlyName: 'Archive',
        name: 'archive',
        ...{ qidoRoot: MOUNT, wadoRoot: MOUNT, wadoUriRoot: MOUNT },
        ...{ imageRendering: 'wadors', thumbnailRendering: 'wadors' },
        ...{ qidoSupportsIncludeField: false, supportsFuzzyMatching: false, supportsWildcard: true },
        ...{ enableStudyLazyLoad: true, omitQuotationForMultipartRequest: true },
        bulkDataURI: { enabled: true },
      },
    },
  ],
};

/**
 * Starts the server on the loopback interface.
 * @param folder of the static build of OHIF; @param archive URL of a DICOMweb service; @param port 0 for a free one
 * @returns the URL of the list of studies, and a function that ends the server
 */
export async function startViewer({ folder, archive, port = 0 }) {
  const files = new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [`/${relative(folder, path).replaceAll('\\', '/')}`, path]),
  );
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    // The viewer only shows: what it would save does not reach the archive.
    if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405).end();
    else if (`${pathname}/`.startsWith(`${MOUNT}/`)) forward(request, response, archive);
    else if (pathname === CONFIG) {
      response.writeHead(200, { 'content-type': TYPES['.js'], ...ISOLATION });
      response.end(`window.config = ${JSON.stringify(settings)};`);
    } else {
      // A path without a file is a page of the viewer, which reads the path itself.
      const path = files.get(pathname) ?? files.get('/index.html');
      const type = TYPES[extname(path)] ?? 'application/octet-stream';
      response.writeHead(200, { 'content-type': type, ...ISOLATION });
      createReadStream(path).pipe(response);
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function forward(request, response, archive) {
  const target = new URL(archive.replace(/\/+$/, '') + request.url.slice(MOUNT.length));
  const { host, connection, ...headers } = request.headers;
  // Orthanc writes URLs into its answers; they must lead here.
  headers.forwarded = `host="${host}";proto=http`;
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest;
  const forwarded = send(target, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, { ...answer.headers, ...ISOLATION });
    answer.pipe(response);
  });
  forwarded.on('error', ({ message }) => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { 'content-type': 'text/plain' }).end(`the archive fails: ${message}\n`);
  });
  response.on('close', () => forwarded.destroy());
  forwarded.end();
}
