import { app as host } from '@azure/functions';
import { config, inApp } from './app.ts';

host.timer('poll', { schedule: config.schedules.poll, handler: (_, context) => inApp(context, (app) => app.poll()) });
