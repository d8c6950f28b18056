/** What the made-up conversations say: DNS (RFC 1035) and the beginning of TLS (RFC 8446, 6066, 7301). */
const DNS_HEADER = 12;

export function dnsQuery(id: number, name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([dnsHeader(id, 0x0100, 0), ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

/** One address for any name; names that begin with `nowhere` do not exist. */
export function dnsAnswer(query: Buffer): Buffer {
  const id = query.readUInt16BE(0);
  const question = query.subarray(DNS_HEADER);
  if (question.subarray(1, 8).toString() === 'nowhere') return Buffer.concat([dnsHeader(id, 0x8183, 0), question]);
  // Name (a pointer to the question), type A, class IN, 60 s to live, four bytes: 203.0.113.10.
  const record = Buffer.from([0xc0, DNS_HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 10]);
  return Buffer.concat([dnsHeader(id, 0x8180, 1), question, record]);
}

function dnsHeader(id: number, flags: number, answers: number): Buffer {
  return Buffer.concat([id, flags, 1, answers, 0, 0].map(uint16));
}

/** With a server name, the protocols h2 and http/1.1, and the versions 1.3 and 1.2. */
export function clientHello(serverName: string): Buffer {
  const name = Buffer.from(serverName);
  const extensions = Buffer.concat([
    extension(0, sized(Buffer.concat([Buffer.from([0]), sized(name)]))),
    extension(10, sized(Buffer.concat([uint16(0x001d), uint16(0x0017)]))),
    extension(13, sized(Buffer.concat([uint16(0x0403), uint16(0x0804), uint16(0x0401)]))),
    extension(16, sized(Buffer.concat([text('h2'), text('http/1.1')]))),
    extension(43, Buffer.concat([Buffer.from([4]), uint16(0x0304), uint16(0x0303)])),
  ]);
  const hello = Buffer.concat([
    uint16(0x0303),
    Buffer.alloc(32, 0x5a), // random
    Buffer.from([0]), // no session
    sized(Buffer.concat([uint16(0x1301), uint16(0x1302), uint16(0xc02f)])),
    Buffer.from([1, 0]), // no compression
    sized(extensions),
  ]);
  return tlsRecord(22, Buffer.concat([Buffer.from([1, 0]), sized(hello)]));
}

export function tlsRecord(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), uint16(0x0303), sized(content)]);
}

function extension(type: number, content: Buffer): Buffer {
  return Buffer.concat([uint16(type), sized(content)]);
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}

function sized(content: Buffer): Buffer {
  return Buffer.concat([uint16(content.length), content]);
}

function uint16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff]);
}
