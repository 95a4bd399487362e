import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, it } from 'mocha';
import { endProcess } from '../../../bench/support/end-process.js';
import { packageRoot } from '../../../src/util/package-root.js';

describe('the processes of a benchmark', () => {
  it('are ended while they run', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: 'pipe' });
    await endProcess(child);
    assert.equal(child.signalCode, 'SIGTERM');
  });

  it('may have ended before', async () => {
    for (const script of ['process.exit(3)', 'process.kill(process.pid, "SIGKILL")']) {
      const child = spawn(process.execPath, ['-e', script]);
      await once(child, 'exit');
      await endProcess(child);
      assert.notEqual(child.exitCode ?? child.signalCode, null);
    }
  });

  it('may never have started', async () => {
    const child = spawn('/nonexistent/program');
    const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'ENOENT');
    await endProcess(child);
  });

  it('are ended where their engine does not start', function () {
    this.timeout(60_000);
    const runner = pathToFileURL(join(packageRoot(), 'dist/bench/engines/runner.js')).href;
    // Without a driver there is no adapter. The message and the end of the program are the result.
    const script = `
      import { Runner } from ${JSON.stringify(runner)};
      const environment = { VK_ICD_FILENAMES: '/nonexistent' };
      await Runner.start({ engine: 'webgpu', threads: 1, cores: '', environment }).catch((error) => console.log(error.message));
    `;
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '--eval', script],
      { encoding: 'utf8', timeout: 50_000 },
    );
    assert.deepEqual([status, signal], [0, null], stderr);
    assert.match(stdout, /^webgpu: .*(Vulkan|adapter)/);
  });
});
