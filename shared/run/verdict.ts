import { providerErrors, type ProviderName } from '../provider/provider.ts';
import { expectsFile, type Run, type Verdict } from './run.ts';

/** The plain-words results of a run, by code. A closed list; a run that failed to start has the code of the cloud's error. */
export const runVerdicts = [
  'captured',
  'empty',
  'damaged',
  'on-machine',
  'no-file',
  'target-gone',
  'agent-error',
  'start-failed',
  'never-started',
  'not-started',
] as const;

/** What a completed run came to, and what to do next. */
export function judge(run: Run): Verdict {
  const verdict = (code: (typeof runVerdicts)[number], summary: string, next: string): Verdict => ({
    code,
    summary: summary.slice(0, 500),
    next,
  });
  const why = run.stop ? ` (${run.stop.reason})` : '';
  const errors = run.session?.errors ?? [];
  if (run.files.length > 0) {
    const packets = run.files.reduce((n, f) => n + f.packets, 0);
    const files = run.files.length === 1 ? 'one file' : `${run.files.length} files`;
    const damaged = run.files.find((f) => f.verdict === 'damaged' || f.verdict === 'not-a-capture');
    if (damaged)
      return verdict(
        'damaged',
        `${packets} packets could be read; a file is damaged or cut${why}`,
        `Read what is there: GET /api/captures/${damaged.id} says where the damage begins.`,
      );
    if (packets === 0) {
      const filters = (run.capture.filters ?? []).length > 0;
      return verdict(
        'empty',
        `The file came and holds no packets${why}`,
        filters
          ? 'Check the filters: no traffic matched them while the capture ran.'
          : 'Check that the machine had traffic while the capture ran.',
      );
    }
    const reported = errors.length > 0 ? `; the cloud reports ${errors.join(', ')}` : '';
    const advice = errors.length > 0 ? `. ${agentAdvice(errors)}` : '';
    return verdict(
      'captured',
      `${packets} packets in ${files}${why}${reported}`,
      `Read them: GET /api/captures?run=${run.id}${advice}`,
    );
  }
  if (run.startedAt === undefined) {
    return verdict('never-started', `Stopped before it ran${why}`, 'Nothing to do: nothing ran.');
  }
  if (!expectsFile(run))
    return verdict(
      'on-machine',
      `The file stays on the machine: ${run.session?.filePath}${why}`,
      `Fetch ${run.session?.filePath} from the machine.`,
    );
  if (run.targetGone)
    return verdict(
      'target-gone',
      `No file came: the machine no longer exists${why}`,
      'Its packets went with it. Capture on the machine that took its place.',
    );
  if (errors.length > 0)
    return verdict('agent-error', `No file came; the cloud reports ${errors.join(', ')}`, agentAdvice(errors));
  return verdict(
    'no-file',
    `It ran, but no file came to ${run.session?.storagePath ?? 'storage'}${why}`,
    withoutFile[run.provider],
  );
}

const withoutFile: Record<ProviderName, string> = {
  azure:
    'Check that the machine reaches the storage account (storage:443, its firewall) and that key access is enabled on the account.',
  alibaba:
    'Check that packets reach the collector (UDP 4789 open in its security group; its status in container mirror-control), that the filter accepts something, and that no other mirror session takes the packets first.',
};

/** What to do about errors that the capture agent reports, by their codes. */
export function agentAdvice(errors: string[]): string {
  if (errors.includes('StorageFailed')) return withoutFile.azure;
  if (errors.includes('FinancialLocked')) return 'Settle what the Alibaba Cloud account owes; then start it again.';
  if (errors.includes('LocalFileFailed')) return 'Check disk space and permissions of the capture path on the machine.';
  if (errors.includes('AgentStopped')) return providerErrors['agent-failed'].next;
  // A scale set answers with a sentence for each instance.
  if (errors.some((error) => /does not exist or is in stopped state/i.test(error)))
    return 'Start the instances that are named, or leave them out with azure.scope.exclude.';
  return "Look at the Network Watcher agent's log on the machine, then start the capture again.";
}
