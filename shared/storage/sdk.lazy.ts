// The storage SDKs, in one part that is loaded on first use (they share most of their code). Re-exports only: no state of ours lives here.
export { TableClient } from '@azure/data-tables';
export { QueueServiceClient } from '@azure/storage-queue';
export {
  BlobServiceClient,
  BlobSASPermissions,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  SASProtocol,
} from '@azure/storage-blob';
