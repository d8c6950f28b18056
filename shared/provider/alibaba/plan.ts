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

/** A place, and the sessions that go there as far as the cloud lists them. */
export type Candidate = { place: MirrorPlace; sessions: readonly MirrorSession[] };

/** The first place whose target has room for the sources of one more run: what is only written down yet has its room already. */
export function choosePlace(
  candidates: readonly Candidate[],
  { sessions: announced, reserved }: Pick<Register, 'sessions' | 'reserved'>,
  { run, name, sources }: { run: string; name: string; sources: number },
): MirrorPlace {
  const counts = candidates.map(({ place, sessions }) => {
    const listed = sessions.filter((one) => one.name !== name);
    const isListed = (text: string) => listed.some((one) => one.id === text || one.name === text);
    const written = [
      ...announced.filter((one) => one.target === place.mirrorTargetId && one.run !== run && !isListed(one.session)),
      ...reserved
        .filter(
          (one) => one.session.targetId === place.mirrorTargetId && one.run !== run && !isListed(one.session.name),
        )
        .map((one) => one.session),
    ];
    const count = [...listed, ...written].reduce((sum, one) => sum + one.sources.length, 0);
    return { place, count };
  });
  const free = counts.find(({ place, count }) => count + sources <= place.maxSources);
  if (free) return free.place;
  const full = counts.map(({ place, count }) => `${place.mirrorTargetId} has ${count} of ${place.maxSources}`);
  throw new ProviderError(
    'quota',
    `No mirror target has room for another source: ${full.join('; ')}`,
    undefined,
    'Add another mirror target to TRIPCAP_ALIBABA_REGIONS, or have its quota raised and set maxSources.',
  );
}

/**
 * The session to enable: the one that is named, else the only one that is prepared for the source and free. Those that are made for
 * runs are not to be had.
 */
export function chooseEnabled(
  ofSource: readonly MirrorSession[],
  places: readonly MirrorPlace[],
  named: string | undefined,
  { source, run, register, installation }: { source: string; run: string; register: Register; installation: string },
): { session: MirrorSession; place: MirrorPlace } {
  const no = (detail: string, next?: string) => new ProviderError('invalid', detail, undefined, next);
  const placeOf = (one: MirrorSession) => places.find((place) => place.mirrorTargetId === one.targetId);
  const makerOf = (one: MirrorSession) => sessionName.parse(installation, one.name);
  const userOf = (one: MirrorSession) => register.sessions.find((known) => known.session === one.id)?.run;
  const isFree = (one: MirrorSession) => userOf(one) === undefined && !one.enabled;

  const fitting = ofSource.filter((one) =>
    named === undefined ? placeOf(one) !== undefined && makerOf(one) === undefined : one.id === named,
  );
  const [free, other] = fitting.filter(isFree);
  // What it uses already, whoever asked before; else a free one; else one that tells why there is none.
  const session = fitting.find((one) => userOf(one) === run) ?? free ?? fitting[0];
  if (!session)
    throw no(
      named === undefined
        ? `No disabled mirror session is prepared for ${source}`
        : `Session ${named} does not have ${source} as a source`,
      `Make a session with ${source} as a source and the collector as target, and leave it disabled.`,
    );
  const maker = makerOf(session);
  if (maker !== undefined)
    throw no(`Session ${session.id} was made for run ${maker}, and goes with it`, 'Name another one, or none.');
  const place = placeOf(session);
  if (!place)
    throw no(
      `Session ${session.id} goes to ${session.targetId}, which is none of TRIPCAP_ALIBABA_REGIONS`,
      'Give it a mirror target with a collector behind it.',
    );
  const user = userOf(session);
  if (user !== undefined && user !== run)
    throw new ProviderError(
      'mirrored-already',
      `Session ${session.id} is in use by run ${user}`,
      undefined,
      'Wait until that run is over, or stop it.',
    );
  if (session.enabled && user === undefined)
    throw new ProviderError(
      'mirrored-already',
      `Session ${session.id} is enabled already, and not by us`,
      undefined,
      'Disable it: a session that is enabled for a run is disabled at its end.',
    );
  if (other && user === undefined)
    throw no(
      `Several mirror sessions are prepared for ${source}: ${fitting
        .filter(isFree)
        .map((one) => one.id)
        .join(', ')}`,
      'Name one of them in alibaba.sessionId.',
    );
  if (session.businessStatus !== 'Normal')
    throw new ProviderError(
      'account',
      `Session ${session.id} is ${session.businessStatus}: the account is in arrears`,
      undefined,
      'Settle what the Alibaba Cloud account owes: traffic mirroring is locked until then.',
    );
  return { session, place };
}
