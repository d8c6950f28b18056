import type { MachineFaults } from './faults.ts';
import type { Capture, Session } from './state.ts';

/** A machine of a capture, and what became of it there. */
export type Captured = { id: string; session: Session | undefined; gone: boolean };

/** What `queryStatus` answers. @param machines those that the capture was started on */
export function statusOf(
  capture: Capture,
  machines: Captured[],
  startTime: MachineFaults['startTime'],
): Record<string, unknown> {
  const named = { name: capture.name, id: capture.id };
  const state = capture.target.type === 'AzureVM' ? ofMachine(capture, machines) : ofScaleSet(capture, machines);
  const { startedAt, ...rest } = state;
  const shown = startedAt === undefined ? undefined : shownTime(startedAt, capture.createdAt, startTime);
  return { ...named, ...(shown === undefined ? {} : { captureStartTime: shown }), ...rest };
}

type Status = {
  /** Unix milliseconds. */
  startedAt?: number | undefined;
  packetCaptureStatus: string;
  stopReason?: string;
  packetCaptureError: string[];
};

function ofMachine(capture: Capture, [machine]: Captured[]): Status {
  const session = machine?.session;
  if (capture.failure && capture.provisioningState !== 'Updating') {
    // GUESS: what a capture says that never started; the members are those recorded for an agent that died.
    return { packetCaptureStatus: 'Stopped', stopReason: 'Error', packetCaptureError: ['AgentStopped'] };
  }
  switch (session?.phase) {
    case 'running':
      return { startedAt: session.startedAt, packetCaptureStatus: 'Running', packetCaptureError: [] };
    case 'ended':
    case 'done':
      return {
        startedAt: session.startedAt,
        packetCaptureStatus: 'Stopped',
        ...(session.stopReason === undefined ? {} : { stopReason: session.stopReason }),
        packetCaptureError: session.errors,
      };
    default:
      // GUESS: declared, never recorded.
      return { packetCaptureStatus: 'NotStarted', packetCaptureError: [] };
  }
}

/**
 * Recorded are: all running, all stopped by hand, all at their time limit, and none there any more (then there is no
 * reason, but a sentence for each). GUESS: everything in between, and one instance as the target.
 */
function ofScaleSet(capture: Capture, machines: Captured[]): Status {
  const failed = capture.failure !== undefined && capture.provisioningState !== 'Updating';
  const gone = machines.filter((machine) => machine.gone || failed || !machine.session);
  const sentences = gone.map((machine) => `${machine.id} does not exist or is in stopped state.`);
  const sessions = machines.filter((machine) => !gone.includes(machine)).flatMap(({ session }) => session ?? []);
  const times = machines.flatMap(({ session }) => session?.startedAt ?? []);
  const started = { startedAt: times.length > 0 ? Math.min(...times) : capture.createdAt };

  const open = sessions.filter(({ phase }) => phase === 'pending' || phase === 'running');
  if (open.some(({ phase }) => phase === 'running')) {
    return { ...started, packetCaptureStatus: 'Running', packetCaptureError: sentences };
  }
  if (open.length > 0) return { packetCaptureStatus: 'NotStarted', packetCaptureError: sentences };
  const errors = [...sentences, ...new Set(sessions.flatMap((session) => session.errors))];
  const reason = reasonOf(sessions);
  return {
    ...started,
    packetCaptureStatus: 'Stopped',
    ...(reason === undefined ? {} : { stopReason: reason }),
    packetCaptureError: errors,
  };
}

function reasonOf(sessions: Session[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { stopReason } of sessions) {
    if (stopReason !== undefined) counts.set(stopReason, (counts.get(stopReason) ?? 0) + 1);
  }
  if (counts.size === 0) return undefined;
  if (counts.size === 1 && counts.has('Manual')) return 'Manual';
  // Recorded with its trailing blank.
  return [...counts].map(([reason, count]) => `${count} VM Instance(s) stopped due to ${reason} Reasons. `).join('');
}

function shownTime(ms: number, seed: number, form: MachineFaults['startTime']): string | undefined {
  switch (form) {
    case 'normal':
      return serviceTime(ms, seed);
    case 'old': {
      // As in Azure's page of 2017.
      const at = new Date(ms);
      const two = (value: number) => String(value).padStart(2, '0');
      const hour = at.getUTCHours() % 12 || 12;
      const half = at.getUTCHours() < 12 ? 'AM' : 'PM';
      return `${at.getUTCMonth() + 1}/${at.getUTCDate()}/${at.getUTCFullYear()} ${hour}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}${half}`;
    }
    case 'absurd':
      return '0001-01-01T00:00:00';
    case 'missing':
      return undefined;
  }
}

/** ISO time with seven digits, trailing zeros dropped, as the service writes it. @param seed makes up the last four digits */
function serviceTime(ms: number, seed: number): string {
  const digits = `${String(ms % 1000).padStart(3, '0')}${String(seed % 10_000).padStart(4, '0')}`.replace(/0+$/, '');
  return `${new Date(ms).toISOString().slice(0, 19)}${digits ? `.${digits}` : ''}Z`;
}
