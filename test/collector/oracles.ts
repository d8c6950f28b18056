import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { folder } from './entries.ts';

/** What tshark finds in files of ours, read as one: all have the same header. */
export async function tshark(
  ...paths: string[]
): Promise<{ length: number; captured: number; time: number; number: number }[]> {
  const files = paths.map((path) => readFileSync(path));
  const whole = join(folder(), 'whole.cap');
  writeFileSync(whole, Buffer.concat(files.map((file, i) => file.subarray(i === 0 ? 0 : 24))));
  const fields = ['frame.len', 'frame.cap_len', 'frame.time_epoch', 'data.data'].flatMap((field) => ['-e', field]);
  const { stdout } = await promisify(execFile)('tshark', ['-n', '-r', whole, '-T', 'fields', ...fields], {
    maxBuffer: 1 << 28,
  });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [length, captured, time, data = ''] = line.split('\t');
      return {
        length: Number(length),
        captured: Number(captured),
        time: Number(time),
        number: Number.parseInt(data.slice(0, 8), 16),
      };
    });
}

/** What capinfos says of each file. */
export async function capinfos(...paths: string[]): Promise<{ packets: number; linkType: string; type: string }[]> {
  const { stdout } = await promisify(execFile)('capinfos', ['-T', '-r', '-M', '-t', '-E', '-c', ...paths]);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [, type = '', linkType = '', packets] = line.split('\t');
      return { packets: Number(packets), linkType, type };
    });
}

export const hasTshark = spawnSync('tshark', ['--version']).error === undefined;
