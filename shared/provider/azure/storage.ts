import { isLoopback, type CaptureAccount } from '../../config.ts';
import { ProviderError, type CaptureRequest } from '../provider.ts';

/** Where the file goes, in ARM's members, and the account and the path on the machine that follow from it. */
type Storage = {
  storageLocation: { storageId?: string; storagePath?: string; filePath?: string; localPath?: string };
  account: string | undefined;
  filePath: string | undefined;
};

/**
 * The configured account of the region, unless the request names another configured one, or only a path on the machine.
 * `{run}` in a path stands for the run's id.
 */
export function chooseStorage(
  accounts: readonly CaptureAccount[],
  capture: CaptureRequest,
  runId: string,
  region: string,
): Storage {
  const asked = capture.azure?.storageLocation ?? {};
  const withRun = (path: string | undefined) => path?.replaceAll('{run}', runId);
  const { storageId } = asked;
  const [storagePath, filePath, localPath] = [asked.storagePath, asked.filePath, asked.localPath].map(withRun);
  const onMachine = {
    ...(filePath === undefined ? {} : { filePath }),
    ...(localPath === undefined ? {} : { localPath }),
  };
  const path = filePath ?? localPath;
  if (path !== undefined && storageId === undefined && storagePath === undefined)
    return { storageLocation: onMachine, account: undefined, filePath: path };
  const account = accounts.find((a) => {
    if (storageId !== undefined) return a.id.toLowerCase() === storageId.toLowerCase();
    if (storagePath !== undefined) return liesIn(a, new URL(storagePath));
    return a.regions.includes(region) || a.regions.includes('*');
  });
  if (!account) {
    const wanted = storageId ?? storagePath ?? `region ${region}`;
    const have = accounts.map((a) => `${a.name} (${a.regions.join(', ')})`).join('; ') || 'none';
    throw new ProviderError('no-account', `No capture account for ${wanted}; configured: ${have}`);
  }
  return {
    storageLocation: { storageId: account.id, ...(storagePath === undefined ? {} : { storagePath }), ...onMachine },
    account: account.name,
    filePath: path,
  };
}

/** Whether a blob's URL is one of this account: its own host, or the path of a loopback emulator. */
function liesIn({ name, connection }: CaptureAccount, url: URL): boolean {
  if (connection.kind === 'identity') return url.host === new URL(connection.blobUrl).host;
  return url.hostname.startsWith(`${name}.blob.`) || (isLoopback(url.hostname) && url.pathname.startsWith(`/${name}/`));
}
