import { app as host } from '@azure/functions';
import { mirrorContainer, type CaptureAccount } from '../shared/config.ts';
import { config, inApp } from './app.ts';
import extensionsBase from './extensions-base.cjs';

type BlobName = { Connection: string; ContainerName: string; BlobName: string };

// The binding hands over where the blob is, not its bytes: a capture of gigabytes is never loaded whole by the host.
extensionsBase.ResourceFactoryResolver.getInstance().registerResourceFactory('AzureStorageBlobs', (data) => {
  const { content } = data as { content?: Uint8Array };
  return JSON.parse(Buffer.from(content ?? []).toString('utf8')) as BlobName;
});

function catalog(name: string, account: CaptureAccount, container: string): void {
  host.storageBlob(name, {
    path: `${container}/{name}`,
    connection: account.connectionName,
    source: 'EventGrid',
    sdkBinding: true,
    handler: async (blob, context) => {
      const { ContainerName, BlobName } = blob as BlobName;
      await inApp(context, (app) => app.addFile(account.name, ContainerName, BlobName));
    },
  });
}

// One function per storage account and container, since a trigger watches one container of one account.
for (const account of config.captureAccounts) {
  catalog(
    config.captureAccounts.length === 1 ? 'catalog' : `catalog-${account.name}`,
    account,
    config.captureContainer,
  );
}
// Names of accounts have no hyphen.
if (config.mirror) catalog(`catalog-${mirrorContainer}`, config.mirror.account, mirrorContainer);
