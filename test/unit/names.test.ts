import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { beginningsOf, parseBlobUrl, parseDefaultPath, toBeginning } from '../../shared/catalog/blob-path.ts';
import { deriveId, randomId, sha256 } from '../../shared/id.ts';
import { parseCaptureId, parseMachineId, parseWatcherId } from '../../shared/provider/azure/arm-id.ts';
import { sessionName } from '../../shared/provider/session-name.ts';
import { parseDuration, parseSize } from '../../shared/rule/units.ts';

const sub = '11111111-2222-3333-4444-555555555555';

describe('durations and sizes', () => {
  it.each([
    ['90s', 90],
    ['5m', 300],
    ['2h', 7200],
    ['1d', 86_400],
    ['0s', 0],
    ['007s', 7],
  ])('%s is %d seconds', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });

  it.each(['', '5', 's', '5 m', ' 5m', '5m ', '5M', '-5m', '+5m', '1.5h', '1h30m', '1e3s', '5w', '٥m', '1234567890s'])(
    '"%s" is no duration',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  it.each([
    ['512B', 512],
    ['5KB', 5000],
    ['5KiB', 5120],
    ['5MB', 5_000_000],
    ['100MiB', 104_857_600],
    ['4GB', 4_000_000_000],
    ['1GiB', 1_073_741_824],
  ])('%s is %d bytes', (text, sizeBytes) => {
    expect(parseSize(text)).toBe(sizeBytes);
  });

  it.each(['', '5', '12 apples', '100 MiB', '100mib', '100Mib', '5kb', '5K', '1.5GB', '-1B', '1TB', '1234567890123B'])(
    '"%s" is no size',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );
});

describe('ids', () => {
  it('are the same for the same parts, for ever', () => {
    // A changed value would start captures again for alerts that are known: change it only with a migration.
    expect(deriveId('run', 'a', 'b')).toBe(deriveId('run', 'a', 'b'));
    expect(deriveId('run', 'a', 'b')).toBe('ryj9qxjtabdxxjz3eh9qs52tx8');
  });

  it('have 26 letters and digits that are safe in URLs, table keys and ARM names', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 5 }), (parts) => {
        expect(deriveId(...parts)).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
      }),
    );
    for (let i = 0; i < 100; i++) expect(randomId()).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
  });

  it('tell parts apart, however they are cut', () => {
    expect.hasAssertions();
    const parts = fc.array(fc.string({ unit: fc.constantFrom('a', '1', ':', ';', 'ä', '🔥'), maxLength: 4 }), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(deriveId(...a) === deriveId(...b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 1000 },
    );
    expect(deriveId('a', 'bc')).not.toBe(deriveId('ab', 'c'));
    expect(deriveId('1:a;')).not.toBe(deriveId('1:a;', ''));
    expect(deriveId('a')).not.toBe(deriveId('a', ''));
    expect(deriveId('1:a;1:b')).not.toBe(deriveId('1:a', '1:b'));
  });

  it('are spread: no two alike among many, derived or random', () => {
    const all = Array.from({ length: 5000 }, (_, i) => [deriveId(String(i)), randomId()]).flat();
    expect(new Set(all).size).toBe(10_000);
  });

  it('sha256 is the standard one, over UTF-8', () => {
    expect(sha256('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('ARM ids', () => {
  const machine = `/subscriptions/${sub}/resourceGroups/Rg_Shop.(1)/providers/Microsoft.Compute/virtualMachines/Web-01`;

  it('reads a machine in any case, and gives its canonical form', () => {
    const expected = {
      kind: 'vm',
      id: machine.toLowerCase(),
      subscription: sub,
      resourceGroup: 'rg_shop.(1)',
      name: 'web-01',
    };
    for (const id of [machine, machine.toLowerCase(), machine.toUpperCase()])
      expect(parseMachineId(id)).toEqual(expected);
    expect(parseMachineId(expected.id)?.id).toBe(expected.id);
  });

  it('reads a scale set and an instance of one', () => {
    const set = machine.replace('virtualMachines', 'virtualMachineScaleSets');
    const place = { subscription: sub, resourceGroup: 'rg_shop.(1)', name: 'web-01' };
    expect(parseMachineId(set)).toEqual({ kind: 'scale-set', id: set.toLowerCase(), ...place });
    expect(parseMachineId(`${set}/virtualMachines/12`)).toEqual({
      kind: 'instance',
      id: `${set}/virtualMachines/12`.toLowerCase(),
      scaleSet: set.toLowerCase(),
      ...place,
    });
    for (const wrong of [`${set}/virtualMachines/`, `${set}/virtualMachines/..`, `${machine}/virtualMachines/1`])
      expect(parseMachineId(wrong)).toBeUndefined();
  });

  it.each([
    '',
    '/',
    machine.slice(1),
    `${machine}/`,
    `${machine}/extensions/agent`,
    `${machine} `,
    `${machine}\n`,
    `https://management.azure.com${machine}`,
    machine.replace('Microsoft.Compute', 'Microsoft.ClassicCompute'),
    machine.replace(sub, 'not-a-guid'),
    machine.replace('Web-01', ''),
    machine.replace('Web-01', 'x'.repeat(65)),
    machine.replace('Web-01', '../other'),
    machine.replace('Web-01', 'a?x=1'),
    machine.replace('Web-01', '%2e%2e'),
    machine.replace('Rg_Shop.(1)', 'a/b'),
    machine.replace('Rg_Shop.(1)', 'x'.repeat(91)),
  ])('is no machine: %j', (id) => {
    expect(parseMachineId(id)).toBeUndefined();
  });

  it.each(['.', '..'])('is no machine: the name %s', (name) => {
    expect(parseMachineId(machine.replace('Web-01', name))).toBeUndefined();
  });

  it('reads the id of a packet capture and keeps its case', () => {
    const id = `/subscriptions/${sub}/RESOURCEGROUPS/NetworkWatcherRG/providers/microsoft.network/networkwatchers/NW_x/packetcaptures/Tripcap-A`;
    expect(parseCaptureId(id)).toEqual({
      subscription: sub,
      resourceGroup: 'NetworkWatcherRG',
      watcher: 'NW_x',
      name: 'Tripcap-A',
    });
    expect(parseCaptureId(`${id}/stop`)).toBeUndefined();
    expect(parseCaptureId(id.replace('/packetcaptures/Tripcap-A', ''))).toBeUndefined();
    expect(parseCaptureId('')).toBeUndefined();
  });

  it('reads the id of a watcher', () => {
    const id = `/subscriptions/${sub}/resourceGroups/rg-ops/providers/Microsoft.Network/networkWatchers/nw-weu`;
    expect(parseWatcherId(id)).toEqual({ resourceGroup: 'rg-ops', watcher: 'nw-weu' });
    expect(parseWatcherId(id.toUpperCase())).toEqual({ resourceGroup: 'RG-OPS', watcher: 'NW-WEU' });
    expect(parseWatcherId(`${id}/packetCaptures/x`)).toBeUndefined();
    expect(parseWatcherId('')).toBeUndefined();
  });
});

describe('names of sessions', () => {
  const installation = fc.string({ unit: fc.constantFrom('a', 'b', 'x', 'z', '0', '9'), minLength: 1, maxLength: 12 });
  const runId = fc.array(fc.string(), { maxLength: 3 }).map((parts) => deriveId(...parts));

  it('are read back as they were written', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(installation, runId, (name, id) => {
        expect(sessionName.parse(name, sessionName.format(name, id))).toBe(id);
      }),
    );
  });

  it('fit the rule for names of captures', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(installation, runId, (name, id) => {
        expect(sessionName.format(name, id)).toMatch(/^[0-9a-zA-Z]([0-9a-zA-Z_.-]{0,62}[0-9a-zA-Z_])?$/);
      }),
    );
  });

  it('are never those of another installation', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(installation, installation, runId, (mine, theirs, id) => {
        fc.pre(mine !== theirs);
        expect(sessionName.parse(mine, sessionName.format(theirs, id))).toBeUndefined();
      }),
    );
  });

  it.each([
    '',
    'tripcap-main-',
    `tripcap-main-${'a'.repeat(25)}`,
    `tripcap-main-${'a'.repeat(27)}`,
    `tripcap-main-${'A'.repeat(26)}`,
    `x-tripcap-main-${'a'.repeat(26)}`,
    `tripcap-main-${'a'.repeat(26)}.1`,
    `tripcap-mainly-${'a'.repeat(26)}`,
    `Tripcap-main-${'a'.repeat(26)}`,
    'PSAzureFunction',
  ])('%j is foreign', (name) => {
    expect(sessionName.parse('main', name)).toBeUndefined();
  });
});

describe("places of blobs' URLs", () => {
  const path = `subscriptions/${sub}/resourcegroups/rg/providers/microsoft.compute/virtualmachines/vm/2026/03/17/packetcapture_03_37_35_429.cap`;

  it.each([
    ['host style', `https://logs.blob.core.windows.net/network-watcher-logs/${path}`],
    ['a sovereign cloud', `https://logs.blob.core.chinacloudapi.cn/network-watcher-logs/${path}`],
    ['path style on loopback', `http://127.0.0.1:10000/devstoreaccount1/network-watcher-logs/${path}`],
    ['path style on localhost', `http://localhost:10000/devstoreaccount1/network-watcher-logs/${path}`],
    ['path style on IPv6 loopback', `http://[::1]:10000/devstoreaccount1/network-watcher-logs/${path}`],
    ['a leading slash', `https://logs.blob.core.windows.net/network-watcher-logs//${path}`],
    ['a signature behind it', `https://logs.blob.core.windows.net/network-watcher-logs/${path}?sv=2026&sig=x%2Fy`],
    [
      'percent-encoded slashes',
      `https://logs.blob.core.windows.net/network-watcher-logs/${path.replaceAll('/', '%2F')}`,
    ],
  ])('%s', (_, url) => {
    expect(parseBlobUrl(url)).toEqual({ container: 'network-watcher-logs', blob: path });
  });

  it('keeps the case and decodes what is encoded', () => {
    expect(parseBlobUrl('https://a.blob.core.windows.net/c/Folder/M%C3%BCller%20%231.cap')).toEqual({
      container: 'c',
      blob: 'Folder/Müller #1.cap',
    });
  });

  it.each([
    '',
    'no url',
    'https://a.blob.core.windows.net',
    'https://a.blob.core.windows.net/',
    'https://a.blob.core.windows.net/container',
    'https://a.blob.core.windows.net/container/',
    'https://a.blob.core.windows.net/c/%E0%A4%A',
    'http://127.0.0.1:10000/devstoreaccount1/container',
  ])('%j names no blob', (url) => {
    expect(parseBlobUrl(url)).toBeUndefined();
  });

  it('reads back any container and blob', () => {
    expect.hasAssertions();
    const part = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .filter((text) => !/^\.{1,2}$/.test(text) && !/[/\\]/.test(text));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const blob = parts.join('/');
        const url = `https://a.blob.core.windows.net/logs/${parts.map(encodeURIComponent).join('/')}`;
        expect(parseBlobUrl(url)).toEqual({ container: 'logs', blob });
      }),
    );
  });

  it.each([path, `/${path}`, `//${path}`, path.toUpperCase(), path.replace('packetcapture', 'packetCapture')])(
    'finds the machine in %s',
    (blob) => {
      expect(parseDefaultPath(blob)).toEqual({
        target: `/subscriptions/${sub}/resourcegroups/rg/providers/microsoft.compute/virtualmachines/vm`,
      });
    },
  );

  it.each([
    [path.replace('virtualmachines/vm', 'virtualmachinescalesets/set/virtualmachines/0'), 'set/virtualmachines/0'],
    [path.replace('virtualmachines/vm', 'virtualmachinescalesets/set').replace('.cap', '/tripcap-main-x/1.cap'), 'set'],
    [path.replace('virtualmachines/vm', 'virtualmachinescalesets/set').replace('.cap', '_00001.cap'), 'set'],
  ])('finds the scale set or its instance in %s', (blob, name) => {
    const of = `/subscriptions/${sub}/resourcegroups/rg/providers/microsoft.compute/virtualmachinescalesets`;
    expect(parseDefaultPath(blob)).toEqual({ target: `${of}/${name}` });
  });

  it.each([
    ['a/b/', 'a/b/1.cap', true],
    ['a/b/', 'a/b/c/1.cap', true],
    ['a/b/', 'a/bc/1.cap', false],
    ['a/x.cap', 'a/x_00001.cap', true],
    ['a/x.cap', 'a/x-1.cap', true],
    ['a/x.cap', 'a/x.1.cap', true],
    ['a/x.CAP', 'a/x.cap', true],
    ['a/x.cap', 'a/xy.cap', false],
    ['a/x.cap', 'a/x0001.cap', true],
    ['a/x.cap', 'a/x/0.cap', true],
    ['a/x.cap', 'a/x.cap/1.cap', true],
    ['dns/0123456789abcdefghjkmnpqrs.cap', 'dns/0123456789abcdefghjkmnpqrsring7.cap', true],
    ['x.cap', 'x_1.cap', true],
    ['d/packetcapture_01_02_03_004.cap', 'd/packetcapture_01_02_03_0041.cap', true],
    ['d/packetcapture_01_02_03_004.cap', 'd/packetcapture_01_02_03_004/1.cap', true],
    ['d/packetcapture_01_02_03_004.cap', 'd/packetcapture_01_02_03_005.cap', false],
  ])('files of a capture that makes several: %s claims %s: %s', (asked, blob, claimed) => {
    expect(beginningsOf(blob).includes(toBeginning(asked))).toBe(claimed);
  });

  it('the beginnings of a path are bounded, the longest first', () => {
    const beginnings = beginningsOf(`${'a/'.repeat(200)}${'b_'.repeat(200)}.cap`);
    expect(beginnings.length).toBeLessThanOrEqual(40);
    expect(beginnings.map((b) => b.length)).toEqual(beginnings.map((b) => b.length).toSorted((a, b) => b - a));
  });

  it.each([
    '',
    'x.cap',
    `other/${path}`,
    `${path}.gz`,
    path.replace('_429', ''),
    path.replace('2026', '26'),
    path.replace('virtualmachines/vm', 'disks/vm'),
    path.replace('virtualmachines/vm', 'virtualmachines/vm/virtualmachines/0'),
    path.replace('packetcapture_', 'mycapture_'),
  ])('finds no machine in %j', (blob) => {
    expect(parseDefaultPath(blob)).toBeUndefined();
  });
});
