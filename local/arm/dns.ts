/** DNS messages on the wire (RFC 1035), as much as the emulated VM needs: one question, one address or NXDOMAIN. */
const QUERY_FLAGS = 0x0100;
const ANSWER_FLAGS = 0x8180;
const NXDOMAIN = 3;
const HEADER = 12;

export function dnsQuery(id: number, name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([header(id, QUERY_FLAGS, 0), ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

/** Answers any query for one A record; names that begin with `nowhere` do not exist. */
export function dnsAnswer(query: Buffer): Buffer {
  const id = query.readUInt16BE(0);
  const question = query.subarray(HEADER);
  if (question.subarray(1, 8).toString() === 'nowhere') {
    return Buffer.concat([header(id, ANSWER_FLAGS | NXDOMAIN, 0), question]);
  }
  // Name (a pointer to the question), type A, class IN, 60 s to live, four bytes: 203.0.113.10.
  const record = Buffer.from([0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 10]);
  return Buffer.concat([header(id, ANSWER_FLAGS, 1), question, record]);
}

function header(id: number, flags: number, answers: number): Buffer {
  const bytes = Buffer.alloc(HEADER);
  [id, flags, 1, answers].forEach((value, i) => bytes.writeUInt16BE(value, i * 2));
  return bytes;
}
