import { app as host } from '@azure/functions';
import { config, inApp } from './app.ts';

host.timer('sweep', {
  schedule: config.schedules.sweep,
  handler: (_, context) => inApp(context, (app) => app.sweep()),
});
