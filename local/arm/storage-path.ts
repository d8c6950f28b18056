import type { Parameters } from './parameters.ts';
import type { Destination } from './upload.ts';

/**
 * The path that the service makes up, as recorded: lower case but for the capture's name, UTC, the target's resource
 * group, and a folder for a scale set; `""` when only a file on the VM was asked for.
 */
export function generatedPath(parameters: Parameters, name: string, at: Date): string {
  if (parameters.storageId === undefined) return '';
  const account = parameters.storageId.split('/').at(-1);
  const { target } = parameters;
  const [day = '', time = ''] = at.toISOString().slice(0, -1).split('T');
  const stamp = `${day.replaceAll('-', '/')}/packetcapture_${time.replace(/[:.]/g, '_')}`;
  const root = `https://${account}.blob.core.windows.net/network-watcher-logs${target.id.toLowerCase()}/${stamp}`;
  return isFolder(parameters) ? `${root}/${name}/` : `${root}.cap`;
}

/**
 * Where a machine's file goes.
 *
 * GUESS: the names of the files of a scale set's instances, of which no source tells; that a path of one's own is a folder
 * for them too; and that a path that ends in `/` names one.
 *
 * @param instance of a scale set, with its name: `frontend_1`
 */
export function destinationFor(parameters: Parameters, to: Destination, instance: string): Destination {
  if (!isFolder(parameters) && !to.blob.endsWith('/')) return to;
  return { container: to.container, blob: `${to.blob.replace(/\/?$/, '/')}${instance}.cap` };
}

/** GUESS: the names of a ring's files. @param number counts the files of a session from 1 */
export function ringName(path: string, number: number): string {
  return `${path.replace(/\.cap$/i, '')}_${String(number).padStart(4, '0')}.cap`;
}

/** Several files come: one of each instance. */
function isFolder({ target }: Parameters): boolean {
  return target.type === 'AzureVMSS' && target.instance === undefined;
}
