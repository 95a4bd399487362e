/** Debian's Orthanc with its DICOMweb plugin, as the archive of the gateway's tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PLUGIN = '/usr/share/orthanc/plugins/libOrthancDicomWeb.so';
const START_MS = 60_000;

export class Orthanc {
  private child: ChildProcess | undefined;

  /**
   * @param folder for its settings and its storage, which survive a restart
   * @param own settings beside those of every test
   */
  constructor(
    private readonly folder: string,
    private readonly httpPort: number,
    dicomPort: number,
    own: Readonly<Record<string, unknown>> = {},
  ) {
    mkdirSync(folder, { recursive: true });
    const settings = {
      Name: 'archive',
      StorageDirectory: join(folder, 'storage'),
      IndexDirectory: join(folder, 'storage'),
      HttpPort: httpPort,
      DicomPort: dicomPort,
      DicomServerEnabled: false,
      RemoteAccessAllowed: false,
      AuthenticationEnabled: false,
      Plugins: [PLUGIN],
      DicomWeb: { Enable: true, Root: '/dicom-web/' },
      ...own,
    };
    writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(settings));
  }

  get dicomWeb(): string {
    return `${this.url}/dicom-web`;
  }

  private get url(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<void> {
    const child = spawn('Orthanc', [join(this.folder, 'orthanc.json')], { stdio: 'ignore' });
    this.child = child;
    const deadline = performance.now() + START_MS;
    for (;;) {
      const answer = await fetch(`${this.url}/system`).catch(() => undefined);
      if (answer?.ok) return;
      if (child.exitCode !== null || performance.now() > deadline) throw new Error('Orthanc does not start');
      await sleep(100);
    }
  }

  async kill(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const exited = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await exited;
  }

  /** Keeps an instance that did not come from the gateway. @param file a DICOM file */
  async store(file: Uint8Array): Promise<void> {
    const response = await fetch(`${this.url}/instances`, { method: 'POST', body: file });
    if (!response.ok) throw new Error(`Orthanc keeps no instance: HTTP ${response.status}`);
  }

  /** Removes an instance, as an archive loses one. */
  async remove(sopInstanceUid: string): Promise<void> {
    const query = { Level: 'Instance', Query: { SOPInstanceUID: sopInstanceUid } };
    const found = await fetch(`${this.url}/tools/find`, { method: 'POST', body: JSON.stringify(query) });
    for (const id of (await found.json()) as string[]) {
      await fetch(`${this.url}/instances/${id}`, { method: 'DELETE' });
    }
  }

  /** SOP Instance UIDs of all instances of a modality. */
  async instances(modality: string): Promise<readonly string[]> {
    return this.find('Instance', 'SOPInstanceUID', { Modality: modality });
  }

  /** Study Instance UIDs of all studies. */
  async studies(): Promise<readonly string[]> {
    return this.find('Study', 'StudyInstanceUID', {});
  }

  private async find(
    level: 'Instance' | 'Study',
    tag: string,
    query: Readonly<Record<string, string>>,
  ): Promise<readonly string[]> {
    const response = await fetch(`${this.url}/tools/find`, {
      method: 'POST',
      body: JSON.stringify({ Level: level, Expand: true, Query: query }),
    });
    const found = (await response.json()) as { MainDicomTags: Record<string, string> }[];
    return found.map(({ MainDicomTags }) => MainDicomTags[tag]!);
  }
}
