import { app as host } from '@azure/functions';
import { runQueueName } from '../shared/app.ts';
import { inApp } from './app.ts';

// A message names a run that may need a push: its start, or its deadline. What it needs is decided when it comes.
host.storageQueue('start', {
  queueName: runQueueName,
  connection: 'AzureWebJobsStorage',
  handler: async (message, context) => {
    const { run } = (message ?? {}) as { run?: unknown };
    if (typeof run !== 'string') throw new TypeError('A message of the run queue must be {"run": "<id>"}');
    await inApp(context, (app) => app.stepRun(run));
  },
});
