// Downloads and builds the tools of the steps `helm`, `helm:api`, `container` and `test:slow` before these steps run. A
// step that runs alone prepares its missing tools itself.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { ensureBrowser } from './browser.mjs';
import { grpcForCpp } from './clients/cpp-example.mjs';
import { buildExample } from './clients/examples.mjs';
import { compileGoClient } from './clients/go-client.mjs';
import { ghz, inferenceClients, perfAnalyzer } from './clients/open-inference.mjs';
import { pythonClientEnvironments } from './clients/python-client.mjs';
import { ensureTools } from './container/tools.mjs';
import { ensureDicomTools } from './dicom-tools.mjs';
import { grpcurl } from './grpcurl.mjs';
import { apiServer } from './helm/api-server.mjs';
import { kubernetesSchemas } from './helm/kubernetes.mjs';
import { debian, program } from './helm/tools.mjs';
import { root } from './root.mjs';
import { ensureOhif } from './viewer/ohif.mjs';

program('helm');
program('kubeconform');
kubernetesSchemas();
for (const name of ['prometheus', 'etcd-server']) debian(name);
apiServer();
grpcurl();
inferenceClients();
ghz();
perfAnalyzer();
pythonClientEnvironments();
compileGoClient();
grpcForCpp();
buildExample('java', join(root, '.cache/java-example'));
execFileSync(process.execPath, [join(root, 'scripts/telemetry/receivers.mjs')], { stdio: ['ignore', 2, 2] });
ensureTools();
ensureBrowser();
ensureDicomTools();
ensureOhif();
