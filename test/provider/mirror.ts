import { CONTROL_CONTAINER, LIST_BLOB, statusBlob, type SessionStatus, type Status } from '../../collector/protocol.ts';
import { AlibabaProvider, type AlibabaOptions } from '../../shared/provider/alibaba/alibaba.ts';
import type { Register } from '../../shared/provider/alibaba/register.ts';
import type { MirrorPlace } from '../../shared/provider/alibaba/settings.ts';
import type { Limits, Observation, Session } from '../../shared/provider/provider.ts';
import { MemoryDocuments } from '../memory-documents.ts';
import { until } from '../until.ts';
import { COLLECTOR, Emulator, KEYS, REGION } from '../vpc/harness.ts';
import { limits, nextRun, soon } from './fake-arm.ts';

/** What tests of the Alibaba provider share: a cloud (the emulator), documents, and a collector that does nothing but report. */
export const ACCOUNT = '1108034196790001';
const INSTALLATION = 'main';

export const place: MirrorPlace = {
  region: REGION,
  mirrorTargetId: COLLECTOR,
  mirrorTargetType: 'NetworkInterface',
  collector: 'mirror-1',
  maxSources: 20,
};
export const balancer: MirrorPlace = {
  ...place,
  mirrorTargetId: 'lb-collector0001',
  mirrorTargetType: 'SLB',
  collector: 'mirror-2',
};

export const instance = (name: string) => `acs:ecs:${REGION}:${ACCOUNT}:instance/i-${name}`;
export const eni = (name: string) => `acs:ecs:${REGION}:${ACCOUNT}:eni/eni-${name}`;

/** A request for a capture on `i-NAME`, or on a target by its whole id. */
export const wanted = (target: string, capture: object = {}, runId = nextRun()) => ({
  runId,
  target: target.startsWith('acs:') ? target : instance(target),
  capture,
  limits,
});

/** A collector as the app sees it: a status that names the sessions of the list. */
export class Collector {
  readonly #documents: MemoryDocuments;
  readonly #name: string;

  constructor(documents: MemoryDocuments, name = place.collector) {
    this.#documents = documents;
    this.#name = name;
  }

  /** Says that it is there and has taken over what the list names; `of` is what it has to say of each besides. */
  async report(of: (one: SessionStatus) => Partial<SessionStatus> = () => ({}), at = new Date()): Promise<void> {
    const list = await this.#documents.read(LIST_BLOB);
    const { sessions } = list ? (JSON.parse(list.text) as Register) : { sessions: [] };
    const status: Status = {
      version: 1,
      collector: this.#name,
      at: at.toISOString(),
      startedAt: at.toISOString(),
      sessions: sessions.map(({ run, session, vni }) => {
        const counts = { packets: 0, bytes: 0, files: 0, openBytes: 0, uploaded: 0, capped: false };
        const one = { run, session, vni, ...counts };
        return { ...one, ...of(one) };
      }),
      dropped: { unknownVni: 0, unknownSource: 0, afterEnd: 0, malformed: 0, overCap: 0, disk: 0, kernel: 0 },
      errors: [],
    };
    this.#documents.now = () => at;
    await this.#put(JSON.stringify(status));
    this.#documents.now = () => new Date();
  }

  async #put(text: string): Promise<void> {
    const name = statusBlob(this.#name);
    while (!(await this.#documents.write(name, text, (await this.#documents.read(name))?.etag)));
  }
}

/** Does not wait as long as the provider wants to; `now` is the real time. */
const hurried = (ms: number) => AbortSignal.timeout(ms / 20);

type Options = Partial<AlibabaOptions>;

/** An emulated cloud, with a document store that a test begins empty. */
export class Mirrored {
  readonly cloud: Emulator;
  documents = new MemoryDocuments();
  collector = new Collector(this.documents);

  private constructor(cloud: Emulator) {
    this.cloud = cloud;
  }

  static async start(args: string[] = ['--pace', '0.02']): Promise<Mirrored> {
    return new Mirrored(await Emulator.start(args));
  }

  /** A process of the app, as far as the provider goes. */
  provider(options: Options = {}): AlibabaProvider {
    return new AlibabaProvider({
      account: ACCOUNT,
      places: [place],
      signIn: { kind: 'access-key', id: KEYS.id, secret: KEYS.secret },
      endpoint: new URL(this.cloud.url).host,
      installation: INSTALLATION,
      storage: {
        account: 'mirrors',
        url: 'https://mirrors.blob.core.windows.net/mirror-captures',
        uploadUrl: () => Promise.resolve('https://mirrors.blob.core.windows.net/mirror-captures?sig=x'),
      },
      control: this.documents,
      identity: { getToken: () => Promise.reject(new Error('no identity here')) },
      graceMs: 10_000,
      now: () => new Date(),
      timeout: hurried,
      ...options,
    });
  }

  async register(): Promise<Register> {
    const found = await this.documents.read(LIST_BLOB);
    if (!found) throw new Error(`no ${CONTROL_CONTAINER}/${LIST_BLOB}`);
    return JSON.parse(found.text) as Register;
  }

  async faults(faults: Record<string, unknown> | null): Promise<void> {
    await this.control({ faults });
  }

  async control(given: object): Promise<void> {
    const { status, text } = await this.cloud.control(given);
    if (status !== 200) throw new Error(`_control answered ${status}: ${text}`);
  }

  /** What the cloud holds; not how many packets were mirrored meanwhile. */
  async state(): Promise<{ sessions: StateSession[]; filters: { id: string; name: string; status: string }[] }> {
    const { sessions, filters } = await this.cloud.own('/_state');
    return { sessions: sessions.map((one: StateSession) => ({ ...one, sent: undefined })), filters };
  }

  /** Sessions of a name, or those that nobody had before. */
  async sessions(name?: string): Promise<StateSession[]> {
    const { sessions } = await this.state();
    return sessions.filter((one) => (name === undefined ? !prepared.has(one.id) : one.name === name));
  }

  /** The calls that some work costs. */
  async callsOf<T>(work: () => Promise<T>): Promise<{ value: T; calls: LoggedCall[] }> {
    const before = ((await this.cloud.own('/_log')) as LoggedCall[]).length;
    const value = await work();
    return { value, calls: ((await this.cloud.own('/_log')) as LoggedCall[]).slice(before) };
  }

  /** Makes everything as it was in the beginning. */
  async reset(): Promise<void> {
    await this.control({ faults: null, arrears: false, open: true });
    this.documents = new MemoryDocuments();
    this.collector = new Collector(this.documents);
    await until('a cloud without sessions of tests', async () => {
      const { sessions, filters } = await this.state();
      const switchedOn = sessions.filter((one) => one.id === 'tms-prepared0001' && one.enabled);
      const made = sessions.filter((one) => !prepared.has(one.id));
      const ours = filters.filter((one) => !prepared.has(one.id));
      const gone: Promise<unknown>[] = [];
      for (const { id } of switchedOn)
        gone.push(
          this.cloud.call('UpdateTrafficMirrorSessionAttribute', { TrafficMirrorSessionId: id, Enabled: false }),
        );
      for (const { id } of made)
        gone.push(this.cloud.call('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id }));
      for (const { id } of made.length > 0 ? [] : ours)
        gone.push(this.cloud.call('DeleteTrafficMirrorFilter', { TrafficMirrorFilterId: id }));
      await Promise.all(gone);
      return gone.length === 0;
    });
  }
}

const prepared = new Set(['tms-prepared0001', 'tms-foreign0001', 'tmf-all0001', 'tmf-empty0001', 'tmf-ids0001']);

export type StateSession = {
  id: string;
  name: string;
  status: string;
  enabled: boolean;
  mirroring: boolean;
  filterId: string;
  targetId: string;
  targetType: string;
  packetLength: number;
  priority: number;
  vni: number;
  sources: string[];
};

export type LoggedCall = {
  action: string;
  parameters: Record<string, string>;
  status: number;
  code?: string;
  accessKeyId?: string;
};

/** Looks at a session until it is as wished for; the session as it is known then. */
export async function expectPhase<P extends Observation['phase']>(
  provider: AlibabaProvider,
  session: Session,
  phase: P,
  also: (seen: Observation & { phase: P }) => boolean = () => true,
): Promise<Observation & { phase: P }> {
  return until(`${session.id} is ${phase}`, async () => {
    const seen = await provider.inspect(session, soon());
    return seen.phase === phase && also(seen as Observation & { phase: P })
      ? (seen as Observation & { phase: P })
      : false;
  });
}

type Wanted = ReturnType<typeof wanted>;

/** Asks for a session until it is there, and taken over by the collector. */
export async function readied(mirrored: Mirrored, run: Wanted, provider = mirrored.provider()): Promise<Session> {
  await mirrored.collector.report();
  const session = await provider.start(await provider.prepare(run, soon()), soon());
  await mirrored.collector.report();
  const ready = await expectPhase(provider, session, 'ready', (seen) => seen.waitingFor === undefined);
  return ready.session;
}

/** As readied(), and lets it capture. */
export async function captured(
  mirrored: Mirrored,
  run: Wanted,
  provider = mirrored.provider(),
  most: Limits = run.limits,
): Promise<Session> {
  const session = await provider.enable(await readied(mirrored, run, provider), most, soon());
  return (await expectPhase(provider, session, 'running')).session;
}
