/** Receives traces and metrics by OTLP/HTTP, as JSON. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as JSON of OTLP. */
export interface OtlpSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events?: readonly { readonly name: string }[];
  readonly attributes: readonly { readonly key: string; readonly value: { readonly intValue?: unknown } }[];
}

/** An OTLP/HTTP receiver that keeps the received bodies. */
export class OtlpReceiver {
  readonly bodies = new Map<string, string[]>();
  private readonly server: Server = createServer((request, response) => {
    const buffers: Buffer[] = [];
    request.on('data', (buffer: Buffer) => buffers.push(buffer));
    request.on('end', () => {
      const path = request.url ?? '';
      this.bodies.set(path, [...(this.bodies.get(path) ?? []), Buffer.concat(buffers).toString('utf8')]);
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get spans(): readonly OtlpSpan[] {
    return (this.bodies.get('/v1/traces') ?? []).flatMap((body) =>
      JSON.parse(body).resourceSpans.flatMap((resource: { scopeSpans: { spans: OtlpSpan[] }[] }) =>
        resource.scopeSpans.flatMap(({ spans }) => spans),
      ),
    );
  }

  stop(): void {
    this.server.close();
  }
}
