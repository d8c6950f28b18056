import { beforeDeadline } from '../clock.ts';
import { Problem } from '../problem.ts';
import type { Alert } from './alert.ts';
import { readCloudMonitor, type Notice } from './cloudmonitor.ts';
import {
  capped,
  dealWithRecorded,
  receiptSoFar,
  recordAlert,
  underWay,
  type Receipt,
  type ReceiveParts,
} from './receive.ts';
import { alertId } from './store.ts';

/**
 * CloudMonitor gives up after 5 s, three times over, and then for good. A second and a half is for the way there and back, which may be
 * around the world.
 */
const answerWithinMs = 3_500;

/** Told of each alert with what became of it, when that is settled. */
export type Dealt = (alert: Alert, receipt: Receipt) => void;

/**
 * Takes in a notification of CloudMonitor, ARMS or EventBridge, as receiveAlert does, and answers in time, whatever storage and clouds do.
 * What is recorded by then is dealt with further after the answer, which is `pending`, by this process or the next poll. What is not
 * recorded by then is Problem `storage-unavailable`. Of a group of alerts the answer has what became of all of them, under the id of the first.
 */
export async function receiveCloudMonitor(parts: ReceiveParts, payload: Uint8Array, dealt: Dealt): Promise<Receipt> {
  const signal = parts.clock.timeout(answerWithinMs);
  const { notices, left } = readCloudMonitor(payload);
  const receipts = await Promise.all(notices.map((notice) => receiveInTime(parts, notice, dealt, signal)));
  const [first] = receipts;
  if (!first) throw new Error('A notification has at least one alert');
  if (receipts.length === 1) return first;
  const ignored = receipts.flatMap((receipt) => receipt.ignored);
  const detail = `${left} more alerts of this notification were not read: at most ${notices.length} are`;
  return {
    alertId: first.alertId,
    externalId: first.externalId,
    runs: receipts.flatMap((receipt) => receipt.runs),
    stopped: [...new Set(receipts.flatMap((receipt) => receipt.stopped))],
    ignored: capped(left === 0 ? ignored : [{ reason: 'max-targets', detail }, ...ignored]),
    ...(receipts.some((receipt) => receipt.pending) ? { pending: true } : {}),
  };
}

async function receiveInTime(
  parts: ReceiveParts,
  { alert, payload }: Notice,
  dealt: Dealt,
  signal: AbortSignal,
): Promise<Receipt> {
  const soFar = underWay();
  const work = async (): Promise<Receipt> => {
    const recorded = await recordAlert(parts, alert, payload);
    soFar.recorded = true;
    const receipt = await dealWithRecorded(parts, alert, recorded, soFar);
    dealt(alert, receipt);
    return receipt;
  };
  const working = work().catch((error: unknown) => {
    if (signal.aborted)
      parts.log.error('an alert went wrong after its sender was answered', { alert: alertId(alert), error });
    throw error;
  });
  const receipt = await beforeDeadline(working, undefined, signal);
  if (receipt) return receipt;
  if (!soFar.recorded)
    throw new Problem('storage-unavailable', 'Storage is slow: the alert could not be recorded in time', {
      retryAfterSeconds: 15,
    });
  return { ...receiptSoFar(alert, soFar), pending: true };
}
