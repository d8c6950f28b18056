import { ProviderError } from '../provider.ts';
import { sessionName } from '../session-name.ts';
import type { MirrorSession } from './api.ts';
import type { Register } from './register.ts';
import type { MirrorPlace } from './settings.ts';

/** A network interface with its primary address, from which its mirrored packets come. */
export type Source = { eni: string; address: string };

// Of one source; cannot be raised.
const mostPerSource = 3;

/**
 * Says no before anything is changed: a source has at most three sessions, and of those that are enabled only the one with the
 * smallest priority gets its packets. Sessions of our own share them.
 */
export function refuseTakenSource(
  others: readonly MirrorSession[],
  eni: string,
  priority: number | undefined,
  installation: string,
): void {
  if (others.length >= mostPerSource)
    throw new ProviderError(
      'quota',
      `${eni} is the source of ${others.length} mirror sessions already, which is the most: ${others.map((one) => one.id).join(', ')}`,
      undefined,
      'Delete one of these sessions, or enable one of them: alibaba.mode enable.',
    );
  const before = others.find(
    (one) =>
      one.enabled &&
      sessionName.parse(installation, one.name) === undefined &&
      (priority === undefined || one.priority < priority),
  );
  if (before)
    throw new ProviderError(
      'mirrored-already',
      `Session ${before.id} (priority ${before.priority}, filter ${before.filterId}) mirrors ${eni} already: a packet is mirrored once, and that session comes first`,
    );
}

/** The first place whose target has room for one more source; with the sessions that go there. */
export function choosePlace(
  places: readonly MirrorPlace[],
  ofTargets: readonly (readonly MirrorSession[])[],
  name: string,
): { place: MirrorPlace; sessions: readonly MirrorSession[] } {
  const counts = places.map((place, i) => {
    const sessions = (ofTargets[i] ?? []).filter((one) => one.name !== name);
    return { place, sessions, sources: sessions.reduce((sum, one) => sum + one.sources.length, 0) };
  });
  // Where it is already it stays.
  const free =
    counts.find((_, i) => ofTargets[i]?.some((one) => one.name === name)) ??
    counts.find(({ place, sources }) => sources < place.maxSources);
  if (free) return free;
  const full = counts.map(({ place, sources }) => `${place.mirrorTargetId} has ${sources} of ${place.maxSources}`);
  throw new ProviderError(
    'quota',
    `No mirror target has room for another source: ${full.join('; ')}`,
    undefined,
    'Add another mirror target to TRIPCAP_ALIBABA_REGIONS, or have its quota raised and set maxSources.',
  );
}

/** The session to enable: the one that is named, else the only one that is prepared for the source. */
export function chooseEnabled(
  ofSource: readonly MirrorSession[],
  places: readonly MirrorPlace[],
  named: string | undefined,
  { source, run, register }: { source: string; run: string; register: Register },
): { session: MirrorSession; place: MirrorPlace } {
  const no = (detail: string, next?: string) => new ProviderError('invalid', detail, undefined, next);
  const placeOf = (one: MirrorSession) => places.find((place) => place.mirrorTargetId === one.targetId);
  const userOf = (one: MirrorSession) =>
    register.sessions.find((known) => known.session === one.id && known.run !== run);
  const fitting = ofSource.filter((one) =>
    named === undefined ? placeOf(one) !== undefined && (!one.enabled || ours(one, run, register)) : one.id === named,
  );
  const [session, other] = fitting;
  if (!session)
    throw no(
      named === undefined
        ? `No disabled mirror session is prepared for ${source}`
        : `Session ${named} does not have ${source} as a source`,
      `Make a session with ${source} as a source and the collector as target, and leave it disabled.`,
    );
  if (other)
    throw no(
      `Several mirror sessions are prepared for ${source}: ${fitting.map((one) => one.id).join(', ')}`,
      'Name one of them in alibaba.sessionId.',
    );
  const place = placeOf(session);
  if (!place)
    throw no(
      `Session ${session.id} goes to ${session.targetId}, which is none of TRIPCAP_ALIBABA_REGIONS`,
      'Give it a mirror target with a collector behind it.',
    );
  const user = userOf(session);
  if (user)
    throw new ProviderError(
      'mirrored-already',
      `Session ${session.id} is in use by run ${user.run}`,
      undefined,
      'Wait until that run is over, or stop it.',
    );
  if (session.enabled && !ours(session, run, register))
    throw new ProviderError(
      'mirrored-already',
      `Session ${session.id} is enabled already, and not by us`,
      undefined,
      'Disable it: a session that is enabled for a run is disabled at its end.',
    );
  return { session, place };
}

/** Enabled for this very run, by whoever asked before. */
function ours(session: MirrorSession, run: string, register: Register): boolean {
  return register.sessions.some((known) => known.session === session.id && known.run === run);
}
