// The ARM SDK, in a part of its own that is loaded on first use. Re-exports only: no state of ours lives here.
export { NetworkManagementClient } from '@azure/arm-network';
export { createDefaultHttpClient, createPipelineRequest } from '@azure/core-rest-pipeline';
