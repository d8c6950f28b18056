import { isIP } from 'node:net';
import type { CaptureFilter } from './provider.ts';

/** What is wrong with the addresses and ports of filters, which all clouds take in the same forms; one sentence per fault. */
export function checkFilterValues(filters: readonly CaptureFilter[] = []): string[] {
  return filters.flatMap((filter, i) => {
    const faults: string[] = [];
    for (const name of ['localIPAddress', 'remoteIPAddress'] as const) {
      const fault = filter[name] ? valueFault(filter[name], (part) => isIP(part) === 4, addressOrder) : undefined;
      if (fault)
        faults.push(
          `filters[${i}].${name} ${fault}; write 10.0.0.4, 10.0.0.4-10.0.0.9 or 10.0.0.4;10.0.0.7 (IPv4, no CIDR)`,
        );
    }
    for (const name of ['localPort', 'remotePort'] as const) {
      const fault = filter[name]
        ? valueFault(filter[name], (part) => /^\d{1,5}$/.test(part) && Number(part) <= 65_535, Number)
        : undefined;
      if (fault) faults.push(`filters[${i}].${name} ${fault}; write 443, 8000-8080 or 80;443`);
    }
    return faults;
  });
}

/** One value, one range `a-b`, or a list `a;b;` (no mixing, one range only): the forms that Network Watcher documents. */
function valueFault(
  text: string,
  valid: (part: string) => boolean,
  order: (part: string) => number,
): string | undefined {
  if (text.includes('-')) {
    const parts = text.split('-');
    const [from = '', to = ''] = parts;
    if (parts.length !== 2 || !valid(from) || !valid(to)) return `"${text}" is not a range of two valid values`;
    return order(from) <= order(to) ? undefined : `"${text}" runs backwards`;
  }
  const wrong = text
    .replace(/;$/, '')
    .split(';')
    .find((part) => !valid(part));
  return wrong === undefined ? undefined : `"${text}" holds "${wrong}", which is not valid`;
}

function addressOrder(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
