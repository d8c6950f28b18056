// The app's one entry: importing a file registers its functions.
import './alerts.ts';
import './captures.ts';
import './catalog.ts';
import './health.ts';
import './poll.ts';
import './retention.ts';
import './runs.ts';
import './schedule.ts';
import './sessions.ts';
import './start.ts';
import './sweep.ts';
import { warmUp } from './app.ts';

// Once the functions are registered.
setImmediate(() => void warmUp());
