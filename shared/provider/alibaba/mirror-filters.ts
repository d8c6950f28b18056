import { randomUUID } from 'node:crypto';
import { ProviderError, type CaptureRequest } from '../provider.ts';
import { sessionName } from '../session-name.ts';
import type { AlibabaApi } from './api.ts';
import { codeOf } from './errors.ts';
import { everything, toRules, type FilterRules } from './filters.ts';
import { elapsed } from './pause.ts';
import type { MirrorPlace } from './settings.ts';

/** A filter that is there, or one that is made when it is not; `own`: for one run, and removed with it. */
export type WantedFilter = { id: string } | NewFilter;

type NewFilter = { name: string; rules: FilterRules; own: boolean };

export type FilterOptions = { installation: string; timeout: (ms: number) => AbortSignal };

const settlePauseMs = 300;

/** Which packets are mirrored: filters of the cloud, made of those of a capture where no id is given. */
export class MirrorFilters {
  readonly #api: AlibabaApi;
  readonly #options: FilterOptions;
  readonly #making = new Map<string, Promise<string>>();
  readonly #known = new Map<string, string>();

  constructor(api: AlibabaApi, options: FilterOptions) {
    this.#api = api;
    this.#options = options;
  }

  wanted(capture: CaptureRequest, place: MirrorPlace | undefined, runId: string): WantedFilter {
    const { installation } = this.#options;
    const filters = capture.filters ?? [];
    if (filters.length > 0)
      return { name: sessionName.format(installation, runId), rules: toRules(filters), own: true };
    const id = capture.alibaba?.filterId ?? place?.filterId;
    return id === undefined ? { name: `tripcap-${installation}-all`, rules: everything, own: false } : { id };
  }

  /** Whether a filter that is named is one through which something comes. */
  async check(region: string, filter: WantedFilter, signal: AbortSignal): Promise<void> {
    if (!('id' in filter)) return;
    const [found] = await this.#api.filters(region, { id: filter.id }, signal);
    if (!found) throw new ProviderError('invalid', `There is no traffic mirror filter ${filter.id} in ${region}`);
    if (found.ingressRules + found.egressRules === 0)
      throw new ProviderError('invalid', `Filter ${filter.id} has no rules, so it mirrors nothing`);
  }

  /** Its id, as far as it is known without asking. */
  known(region: string, filter: WantedFilter): string | undefined {
    return 'id' in filter ? filter.id : this.#known.get(`${region} ${filter.name}`);
  }

  /** Its id, as soon as it can be used. */
  async ensure(region: string, filter: WantedFilter, signal: AbortSignal): Promise<string> {
    if ('id' in filter) return filter.id;
    // Many runs that begin at once need one filter, not one each.
    const key = `${region} ${filter.name}`;
    const making = this.#making.get(key) ?? this.#make(region, filter, signal).finally(() => this.#making.delete(key));
    this.#making.set(key, making);
    const id = await making;
    if (!filter.own) this.#known.set(key, id);
    return id;
  }

  async #make(region: string, filter: NewFilter, signal: AbortSignal): Promise<string> {
    const named = await this.#api.filters(region, { name: filter.name }, signal);
    const found = named.find((one) => one.name === filter.name && one.status !== 'Deleting');
    if (found?.status === 'Created') return found.id;
    const id =
      found?.id ??
      (await this.#api.createFilter(
        region,
        {
          name: filter.name,
          ...filter.rules,
          // One that was made for all and deleted by somebody is made anew; one of a run is made once.
          clientToken: filter.own ? `filter-${filter.name}` : randomUUID(),
        },
        signal,
      ));
    for (;;) {
      const [made] = await this.#api.filters(region, { id }, signal);
      if (made?.status === 'Created') return id;
      await elapsed(this.#options.timeout(settlePauseMs), signal);
      if (signal.aborted) throw new ProviderError('conflict', `Filter ${filter.name} is not ready yet`);
    }
  }

  /** True when it is gone, false when its removal is under way. */
  async remove(region: string, name: string, signal: AbortSignal): Promise<boolean> {
    const found = (await this.#api.filters(region, { name }, signal)).filter((one) => one.name === name);
    for (const { id, status } of found) {
      if (status === 'Deleting') continue;
      try {
        await this.#api.deleteFilter(region, id, randomUUID(), signal);
      } catch (error) {
        const code = codeOf(error) ?? '';
        if (code === 'ResourceNotFound.TrafficMirrorFilter') continue;
        // Its session is still going.
        if (/^(IncorrectStatus|DependencyViolation)\./.test(code)) return false;
        throw error;
      }
    }
    return found.length === 0;
  }
}
