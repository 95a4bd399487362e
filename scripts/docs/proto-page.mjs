import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../prepare.mjs';

/** The page of salad.v1. */
export const protoPage = () => pageOf('salad.v1', 'Wire contract salad.v1', 'proto/salad/v1');

/** The page of the Open Inference Protocol. */
export const inferencePage = () =>
  pageOf('inference', 'Wire contract of the Open Inference Protocol', 'proto/inference');

/** Services, messages and enums of a package, in the order of the proto files. */
function pageOf(packageName, title, folder) {
  const image = JSON.parse(
    execFileSync(join(root, 'node_modules/.bin/buf'), ['build', '-o', '-#format=json'], {
      cwd: root,
      maxBuffer: 1 << 27,
    }),
  );
  const files = image.file
    .filter(({ package: name }) => name === packageName)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return `# ${title}

Generated from \`${folder}\` by \`npm run docs\`, with the comments, the order and the field numbers of the files.

${files
  .map(fileSections)
  .join('\n\n')
  .replaceAll(/\n{3,}/g, '\n\n')}
`;
}

function fileSections(file) {
  const comment = commentsOf(file);
  const services = (file.service ?? []).map((service, index) => serviceSection(service, [6, index], comment));
  const messages = (file.messageType ?? []).flatMap((message, index) =>
    messageSections(message, message.name, [4, index], comment),
  );
  const enums = (file.enumType ?? []).map((type, index) => enumSection(type, type.name, [5, index], comment));
  return [...services, ...messages, ...enums].join('\n\n');
}

/** Comments by the path of the declaration that they document (google.protobuf.SourceCodeInfo). */
function commentsOf(file) {
  const comments = new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path = [], leadingComments, trailingComments }) => [
      path.join('.'),
      leadingComments ?? trailingComments ?? '',
    ]),
  );
  return (path) => comments.get(path.join('.')) ?? '';
}

const paragraph = (text) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .join('\n')
    .trim();
const cell = (text) => paragraph(text).replaceAll(/\s+/g, ' ').replaceAll('|', '\\|');

function serviceSection(service, path, comment) {
  const rows = service.method.map((method, index) => {
    const stream = (flag, name) => `${flag ? 'stream ' : ''}${typeLink(name)}`;
    return `| \`${method.name}\` | ${stream(method.clientStreaming, method.inputType)} | ${stream(method.serverStreaming, method.outputType)} | ${cell(comment([...path, 2, index]))} |`;
  });
  return `## service ${service.name}\n\n${paragraph(comment(path))}\n\n| call | request | response | |\n|---|---|---|---|\n${rows.join('\n')}`;
}

function messageSections(message, name, path, comment) {
  const rows = (message.field ?? []).map((field, index) => {
    const { number, oneofIndex, proto3Optional } = field;
    const oneof =
      oneofIndex === undefined || proto3Optional ? '' : `oneof ${message.oneofDecl[oneofIndex].name}: `;
    return `| ${number} | \`${field.name}\` | ${oneof}${fieldType(field, message)} | ${cell(comment([...path, 2, index]))} |`;
  });
  const table =
    rows.length === 0 ? 'No fields.' : `| | field | type | |\n|---|---|---|---|\n${rows.join('\n')}`;
  const nested = (message.nestedType ?? []).flatMap((type, index) =>
    type.options?.mapEntry ? [] : messageSections(type, `${name}.${type.name}`, [...path, 3, index], comment),
  );
  const enums = (message.enumType ?? []).map((type, index) =>
    enumSection(type, `${name}.${type.name}`, [...path, 4, index], comment),
  );
  return [`## ${name}\n\n${paragraph(comment(path))}\n\n${table}`, ...nested, ...enums];
}

function enumSection(type, name, path, comment) {
  const rows = type.value.map(
    (value, index) => `| ${value.number ?? 0} | \`${value.name}\` | ${cell(comment([...path, 2, index]))} |`,
  );
  return `## enum ${name}\n\n${paragraph(comment(path))}\n\n| | value | |\n|---|---|---|\n${rows.join('\n')}`;
}

/** @param message that has the field; it has the types of its maps, too */
function fieldType({ type, typeName, label, proto3Optional }, message) {
  const entry = message.nestedType?.find(
    ({ name, options }) => options?.mapEntry && typeName?.endsWith(`.${message.name}.${name}`),
  );
  if (entry)
    return `map of ${entry.field.map((field) => fieldType({ ...field, label: '' }, entry)).join(' to ')}`;
  const name = typeName === undefined ? type.replace('TYPE_', '').toLowerCase() : typeLink(typeName);
  if (label === 'LABEL_REPEATED') return `repeated ${name}`;
  return proto3Optional ? `optional ${name}` : name;
}

const typeLink = (typeName) => typeName.replace(/^\.(salad\.v1|inference)\./, '').replace(/^\./, '');
