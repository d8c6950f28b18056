import { BlobServiceClient } from '@azure/storage-blob';
import { Cron } from 'croner';
import type { AppFunction } from './core.ts';
import { triggerOption } from './settings.ts';
import { functionId, hostContainer, pause } from './trigger.ts';
import type { Host, Listener } from './trigger.ts';

/** What the real host hands to a timer function, and keeps between runs, of an interval of a minute or more. */
interface ScheduleStatus {
  Last: string;
  Next: string;
  LastUpdated: string;
}

interface StatusStore {
  read(): Promise<ScheduleStatus | null>;
  write(status: ScheduleStatus): Promise<void>;
}

const hourMs = 3_600_000;

/**
 * A timer trigger. It does not overlap itself: the next run is computed when the previous one has ended. A run missed
 * while the host was down is made up for once, at the start, with `isPastDue`; for intervals below a minute nothing is
 * kept, and nothing is past due. A failed run is not repeated before the next tick.
 *
 * Differs from the real host: one instance at a time is taken for granted (no singleton lock in storage), `retry`
 * policies and TimeSpan schedules are left out, and croner accepts a few signs (L, W, #) that NCRONTAB does not.
 */
export function startTimer(fn: AppFunction, host: Host): Listener {
  const cron = new Cron(triggerOption(fn, 'schedule', host.env), {
    mode: '6-part',
    domAndDow: true,
    timezone: host.env['WEBSITE_TIME_ZONE'] ?? 'UTC',
  });
  const monitored = fn.trigger['useMonitor'] !== false && shortestIntervalMs(cron) >= 60_000;
  const store = statusStore(fn, host);
  const stopping = new AbortController();
  let status: ScheduleStatus | null = null;

  async function fire(isPastDue: boolean): Promise<void> {
    const timer = { Schedule: { AdjustForDST: true }, ScheduleStatus: status, IsPastDue: isPastDue };
    await host.invoke(fn, { input: { json: JSON.stringify(timer) } });
  }

  /** A run on schedule: its failure is in the log and nobody else's business. */
  async function tick(isPastDue: boolean): Promise<void> {
    const startedAt = new Date();
    await fire(isPastDue).catch(() => undefined);
    if (monitored) await keep(startedAt.toISOString(), startedAt);
  }

  async function keep(last: string, updatedAt: Date): Promise<void> {
    const next = cron.nextRun(updatedAt)?.toISOString() ?? last;
    status = { Last: last, Next: next, LastUpdated: updatedAt.toISOString() };
    await store.write(status);
  }

  async function listen(): Promise<void> {
    let pastDue = false;
    if (monitored) {
      status = await store.read();
      // Computed anew, not taken from `Next`: the schedule may have changed meanwhile.
      const missed = status && cron.nextRun(new Date(status.LastUpdated));
      if (missed && missed < new Date()) pastDue = true;
      else if (status === null) await keep('0001-01-01T00:00:00', new Date());
    }
    if (pastDue || fn.trigger['runOnStartup'] === true) await tick(pastDue);

    let due = cron.nextRun();
    while (due !== null && !stopping.signal.aborted) {
      const waitMs = due.getTime() - Date.now();
      if (waitMs > 0) {
        await pause(Math.min(waitMs, hourMs), stopping.signal); // Node's timers end at 24 days
        continue;
      }
      await tick(false);
      due = cron.nextRun(new Date(Math.max(Date.now(), due.getTime())));
    }
  }

  const listening = listen();
  return {
    run: () => fire(false),
    stop() {
      stopping.abort();
      return listening;
    },
  };
}

function shortestIntervalMs(cron: Cron): number {
  const times = cron.nextRuns(10).map((run) => run.getTime());
  return Math.min(...times.slice(1).map((time, index) => time - (times[index] ?? 0)));
}

/** Where the status outlives the host; without `AzureWebJobsStorage` it does not. */
function statusStore(fn: AppFunction, host: Host): StatusStore {
  const connection = host.env['AzureWebJobsStorage'];
  if (!connection) return { read: () => Promise.resolve(null), write: () => Promise.resolve() };
  const service = BlobServiceClient.fromConnectionString(connection, { retryOptions: { maxTries: 1 } });
  const container = service.getContainerClient(hostContainer);
  const blob = container.getBlockBlobClient(`timers/${host.settings.hostId}/${functionId(fn.name)}/status`);
  return {
    async read() {
      try {
        await container.createIfNotExists();
        if (!(await blob.exists())) return null;
        return JSON.parse((await blob.downloadToBuffer()).toString()) as ScheduleStatus;
      } catch (error) {
        host.log('warning', fn.name, `its status could not be read, a missed run stays missed: ${String(error)}`);
        return null;
      }
    },
    async write(status) {
      const text = JSON.stringify(status);
      try {
        await blob.upload(text, Buffer.byteLength(text));
      } catch (error) {
        host.log('warning', fn.name, `its status could not be written: ${String(error)}`);
      }
    },
  };
}
