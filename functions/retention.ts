import { app as host } from '@azure/functions';
import { config, inApp } from './app.ts';

host.timer('retention', {
  schedule: config.schedules.retention,
  handler: async (_, context) => {
    await inApp(context, (app) => app.retain());
  },
});
