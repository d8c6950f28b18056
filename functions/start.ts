import { app as host } from '@azure/functions';
import { runQueueName } from '../shared/config.ts';
import { inApp } from './app.ts';

// A message names a run that may need a push (its start, its deadline), or a file to catalogue. What a run needs is decided when it comes.
host.storageQueue('start', {
  queueName: runQueueName,
  connection: 'AzureWebJobsStorage',
  handler: async (message, context) => {
    const { run, account, container, blob } = (message ?? {}) as Record<string, unknown>;
    await inApp(context, async (app) => {
      if (typeof run === 'string') await app.stepRun(run);
      else if (typeof account === 'string' && typeof container === 'string' && typeof blob === 'string') {
        await app.addFile(account, container, blob);
      } else throw new TypeError('A message of the run queue must be {"run"} or {"account","container","blob"}');
    });
  },
});
