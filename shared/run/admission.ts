import { deriveId } from '../id.ts';
import type { Ignored } from '../rule/plan.ts';
import type { Rule } from '../rule/rule.ts';
import type { Table } from '../storage/table.ts';
import { isFinal } from './run.ts';
import type { RunStore } from './store.ts';

type Cooldown = { runId: string; until: string };
type Slot = { runId: string; at: string };

// A slot whose run was never written is free again after this: whoever took it has died.
const abandonedMs = 2 * 60_000;

/**
 * Decides whether a planned run may start: the rule's cool-down per target, and its number of runs at once. Every decision is
 * a conditional write, so that requests side by side cannot both get the last place; asking again for the same run says yes again.
 */
export class Admission {
  readonly #table: Table;
  readonly #runs: RunStore;

  constructor(table: Table, runs: RunStore) {
    this.#table = table;
    this.#runs = runs;
  }

  /** Undefined = go ahead. */
  async refusal(rule: Rule, target: string, runId: string, now: Date): Promise<Ignored | undefined> {
    const no = (reason: Ignored['reason'], detail: string): Ignored => ({ rule: rule.name, target, reason, detail });
    const cooling = await this.#cooling(rule, target, runId, now);
    if (cooling) return no('cooldown', cooling);
    if (rule.limits.concurrent !== undefined && !(await this.#takeSlot(rule, runId, now, rule.limits.concurrent))) {
      return no('concurrency', `Rule ${rule.name} has ${rule.limits.concurrent} runs under way, which is its limit`);
    }
    if (rule.limits.cooldownSeconds === 0) return undefined;
    const until = new Date(now.getTime() + rule.limits.cooldownSeconds * 1000).toISOString();
    if (await this.#takeCooldown(rule, target, { runId, until }, now)) return undefined;
    return no('cooldown', `Rule ${rule.name} has just captured this target`);
  }

  async #cooling(rule: Rule, target: string, runId: string, now: Date): Promise<string | undefined> {
    if (rule.limits.cooldownSeconds === 0) return undefined;
    const row = await this.#table.get<Cooldown>('cooldown', deriveId(rule.name, target));
    if (!row || row.value.runId === runId || new Date(row.value.until) <= now) return undefined;
    return `Rule ${rule.name} captured this target a short while ago and waits until ${row.value.until}`;
  }

  async #takeCooldown(rule: Rule, target: string, cooldown: Cooldown, now: Date): Promise<boolean> {
    const key = deriveId(rule.name, target);
    const row = await this.#table.get<Cooldown>('cooldown', key);
    if (!row) return this.#table.insert('cooldown', key, cooldown);
    if (row.value.runId === cooldown.runId) return true;
    if (new Date(row.value.until) > now) return false;
    return this.#table.replace('cooldown', key, row.etag, cooldown);
  }

  async #takeSlot(rule: Rule, runId: string, now: Date, count: number): Promise<boolean> {
    const partition = `slots-${rule.name}`;
    const slot: Slot = { runId, at: now.toISOString() };
    const taken = new Map((await this.#table.scan<Slot>(partition, { limit: 1000 })).map((row) => [row.row, row]));
    if ([...taken.values()].some((row) => row.value.runId === runId)) return true;
    for (let i = 0; i < count; i++) {
      const key = String(i).padStart(3, '0');
      const row = taken.get(key);
      if (!row) {
        if (await this.#table.insert(partition, key, slot)) return true;
      } else if (await this.#isFree(row.value, now)) {
        if (await this.#table.replace(partition, key, row.etag, slot)) return true;
      }
    }
    return false;
  }

  async #isFree(slot: Slot, now: Date): Promise<boolean> {
    const run = await this.#runs.get(slot.runId);
    return run ? isFinal(run.state) : now.getTime() - Date.parse(slot.at) > abandonedMs;
  }
}
