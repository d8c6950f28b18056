import { readFileSync, readdirSync } from 'node:fs';

/** Exchanges with the real service, recorded in the test suites of public projects. */
export type Exchange = {
  method: string;
  uri: string;
  requestBody: any;
  status: number;
  responseHeaders: Record<string, string>;
  responseBody: any;
  /** `null`: the body is these four bytes; without it a body that is null was empty. */
  responseBodyText?: string;
  /** Name and position of the exchange: `errors 4`. */
  at: string;
  path: string;
  apiVersion: string;
  /** When it was recorded, as far as that is known: `2017-06`. */
  month: string;
};

export type Recording = { name: string; exchanges: Exchange[] };

/** The subscription that all others were replaced by. */
export const NOBODY = '00000000-0000-0000-0000-000000000000';

const folder = `${import.meta.dirname}/../fixtures/arm/recordings`;

export const recordings: Recording[] = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => {
    const exchanges = JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as Exchange[];
    const month = /\d{4}-\d\d/.exec(file)?.[0] ?? '9999';
    const name = file.replace(/.json$/, '');
    return {
      name,
      exchanges: exchanges.map((exchange, position) => {
        // One list was copied without its host and subscription.
        const uri = exchange.uri.replace(/^(?=\/resourceGroups)/, `/subscriptions/${NOBODY}`);
        const url = new URL(uri, 'https://management.azure.com');
        const apiVersion = url.searchParams.get('api-version') ?? '';
        return { ...exchange, uri, at: `${name} ${position}`, path: url.pathname, apiVersion, month };
      }),
    };
  });

export type Kind =
  | 'watchers'
  | 'watcher'
  | 'machine'
  | 'extension'
  | 'compute-operation'
  | 'list'
  | 'capture'
  | 'stop'
  | 'status'
  | 'operation'
  | 'result'
  | 'other';

const KINDS: [RegExp, Kind][] = [
  [/\/networkWatchers$/i, 'watchers'],
  [/\/networkWatchers\/[^/]+$/i, 'watcher'],
  [/\/virtualMachines\/[^/]+$/i, 'machine'],
  [/\/virtualMachines\/[^/]+\/extensions\/[^/]+$/i, 'extension'],
  [/Microsoft\.Compute\/locations\/[^/]+\/operations\/[^/]+$/i, 'compute-operation'],
  [/\/packetCaptures$/i, 'list'],
  [/\/packetCaptures\/[^/]+$/i, 'capture'],
  [/\/packetCaptures\/[^/]+\/stop$/i, 'stop'],
  [/\/packetCaptures\/[^/]+\/queryStatus$/i, 'status'],
  [/Microsoft\.Network\/locations\/[^/]+\/operations\/[^/]+$/i, 'operation'],
  [/Microsoft\.Network\/locations\/[^/]+\/operationResults\/[^/]+$/i, 'result'],
];

export function kindOf({ path }: Exchange): Kind {
  return KINDS.find(([pattern]) => pattern.test(path))?.[1] ?? 'other';
}

/** The operation that an exchange begins or asks about. */
export function operationOf({ path, responseHeaders }: Exchange): string | undefined {
  const links = [path, responseHeaders['azure-asyncoperation'], responseHeaders['location']];
  return links.map((link) => /\/operation(?:Result)?s\/([0-9a-f-]{36})/i.exec(link ?? '')?.[1]).find(Boolean);
}

/** What is compared: of an answer, or of what is recorded. */
export type View = {
  at: string;
  status: number;
  headers: Record<string, string | boolean>;
  body: unknown;
  text: string;
};

export function viewOf(
  exchange: Exchange,
  answer: { status: number; header: (name: string) => string | undefined; text: string },
): View {
  const { at } = exchange;
  const headers = Object.fromEntries(
    headersOf(exchange).map((name) => {
      const value = answer.header(name);
      return [name, name === 'content-type' || name === 'retry-after' ? (value ?? false) : value !== undefined];
    }),
  );
  const body = answer.text === '' ? undefined : comparable(exchange, JSON.parse(answer.text));
  // The text for the order of the members.
  return { at, status: answer.status, headers, body, text: JSON.stringify(body) ?? '' };
}

/** Headers whose presence counts, but for those that the recorder of a file took out or rewrote. */
function headersOf({ at, month }: Exchange): string[] {
  // The headers of this list were not read.
  if (at === 'ps-2023-07-query-status-outcomes 22') return ['content-type'];
  const stripped = /^(errors|java)/.test(at) || (at.startsWith('cli') && month > '2020');
  return ['azure-asyncoperation', 'location', 'etag', 'content-type', ...(stripped ? [] : ['retry-after'])];
}

function comparable(exchange: Exchange, body: any): unknown {
  switch (kindOf(exchange)) {
    case 'watchers':
    case 'watcher':
    case 'machine':
      // Names, regions, tags and numbers are each cloud's own.
      return shape(withoutTags(body));
    case 'extension':
    case 'compute-operation': {
      const own = body.error ? body : { ...body, location: 'REGION', name: 'NAME', id: 'ID' };
      // Before 2018 the members had another order.
      return still(exchange.month < '2018' ? sorted(own) : own);
    }
    default:
      return still(asOf(exchange, body));
  }
}

function withoutTags(body: any): any {
  if ('value' in body) return { value: body.value.map(withoutTags) };
  const { tags: _, ...others } = body;
  return others;
}

function sorted(body: any): any {
  if (typeof body !== 'object' || body === null) return body;
  const members = Object.entries(body).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
}

/** Takes out what an answer of today has and one of that time had not. */
function asOf({ month }: Pick<Exchange, 'month'>, body: any): any {
  if (typeof body !== 'object' || body === null) return body;
  if ('value' in body) return { value: body.value.map((each: any) => asOf({ month }, each)) };
  if (month < '2019-10' && body.status === 'Succeeded') return { status: body.status };
  if (!body.properties?.target) return body;
  const without = (members: object, names: string[]) =>
    Object.fromEntries(Object.entries(members).filter(([name]) => !names.includes(name)));
  const later = month < '2022-03' ? ['scope', 'targetType', 'queryPacketCaptureLastOperationId'] : [];
  return { ...without(body, month < '2018-09' ? ['type'] : []), properties: without(body.properties, later) };
}

/** Takes out what is different each time: times, ids that the service makes up, signatures. */
function still(body: unknown): unknown {
  const text = JSON.stringify(body, (name, value: unknown) => {
    if (typeof value !== 'string') return value;
    switch (name) {
      case 'etag':
        return value.replace(/^W\/"[0-9a-f-]{36}"$/, 'ETAG');
      case 'captureStartTime':
        return value.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z$/, 'TIME');
      case 'storagePath':
        return value.replace(/\d{4}\/\d\d\/\d\d\/packetcapture_\d\d_\d\d_\d\d_\d{3}/, 'STAMP');
      case 'queryPacketCaptureLastOperationId':
        return value.replace(/^[0-9a-f-]{36}$/, 'ID');
      case 'startTime':
      case 'endTime':
        return value.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,7}\+00:00$/, 'TIME');
      case 'message':
        return value.replaceAll(/'\d{8}T\d{6}Z'|'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'/g, 'ONCE');
      default:
        // Of which instances a scale set consisted.
        return value.replace(/\/\d+(?= does not exist or is in stopped state\.$)/, '/N');
    }
  });
  return text === undefined ? undefined : JSON.parse(text);
}

/** Names and kinds of a body's members, in order; of a list, those of its first entry. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.entries(value).map(([name, member]) => [name, shape(member)]);
}
