/**
 * A bare grpc-js server with the messages of salad.v1 and no other work: `node grpc-process.js FILE`. It decodes the
 * requests of a call, and answers with the messages that salad-serve gave for the same requests: FILE has them by input
 * form.
 */
import { readFileSync } from 'node:fs';
import { Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream } from '@grpc/grpc-js';
import {
  AnomalyScoringService,
  type ScoreImageRequest,
  ScoreImageResponse,
  type StreamAcquisitionRequest,
  StreamAcquisitionResponse,
} from '../../src/gen/salad/v1/anomaly_scoring.js';
import { INPUT_FORM_KEY, type RecordedAnswers } from './input-forms.js';

const [, , file = ''] = process.argv;
const recorded = JSON.parse(readFileSync(file, 'utf8')) as RecordedAnswers;
const answers = new Map(
  Object.entries(recorded).map(([form, { method, messages }]) => {
    const decoder = method === 'ScoreImage' ? ScoreImageResponse : StreamAcquisitionResponse;
    return [form, messages.map((message) => decoder.decode(Buffer.from(message, 'base64')))];
  }),
);

type StreamCall = ServerDuplexStream<StreamAcquisitionRequest, StreamAcquisitionResponse>;
type ImageCall = ServerWritableStream<ScoreImageRequest, ScoreImageResponse>;

const answersOf = ({ metadata }: StreamCall | ImageCall) =>
  answers.get(String(metadata.get(INPUT_FORM_KEY)[0])) ?? [];

const server = new Server({ 'grpc.max_receive_message_length': -1 });
server.addService(AnomalyScoringService, {
  /** One answer to each message, and the others after the last one. */
  streamAcquisition(call: StreamCall) {
    const messages = answersOf(call);
    let sent = 0;
    call.on('data', ({ payload }: StreamAcquisitionRequest) => {
      const until = payload?.$case === 'end' ? messages.length : Math.min(sent + 1, messages.length - 1);
      for (const message of messages.slice(sent, until)) call.write(message);
      sent = Math.max(sent, until);
    });
    call.on('end', () => call.end());
  },
  scoreImage(call: ImageCall) {
    for (const message of answersOf(call)) call.write(message);
    call.end();
  },
});
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ event: 'ready', address: `127.0.0.1:${port}` }));
});
process.on('SIGTERM', () => server.forceShutdown());
