// The app's one entry: importing a file registers its functions.
import './alerts.ts';
import './captures.ts';
import './catalog.ts';
import './health.ts';
import './poll.ts';
import './runs.ts';
import './schedule.ts';
import './sessions.ts';
import './start.ts';
import './sweep.ts';

// The heavy parts are loaded once the functions are registered, so that the first alert does not pay for it.
setImmediate(() => {
  void import('../shared/storage/sdk.lazy.ts').then(() => import('../shared/provider/azure/arm.lazy.ts'));
});
