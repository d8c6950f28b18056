import { app as host } from '@azure/functions';
import { config, inApp } from './app.ts';

host.timer('schedule', {
  schedule: config.schedules.schedule,
  handler: (_, context) => inApp(context, (app) => app.startDue()),
});
