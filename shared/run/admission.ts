import { deriveId } from '../id.ts';
import type { Ignored } from '../rule/plan.ts';
import type { Rule } from '../rule/rule.ts';
import type { Table } from '../storage/table.ts';
import type { Run } from './run.ts';
import type { RunStore } from './store.ts';

/** A place that a run has taken: a target of a rule for the time of its cool-down, or one of a rule's runs at once. */
type Claim = { runId: string; at: string; until?: string };

// A claim whose run was never written is free again after this: whoever took it has died.
const abandonedMs = 2 * 60_000;
const attempts = 8;

/**
 * Decides whether a planned run may start: the rule's cool-down per target, and its number of captures at once. Every claim is
 * a conditional write, so that requests side by side cannot both get the last place, and whoever loses a write looks again:
 * a claim of the same run (another delivery of the same alert) is its own. A run that failed gives its places back.
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
    const until = await this.#takeCooldown(rule, target, runId, now);
    if (until !== undefined)
      return no('cooldown', `Rule ${rule.name} captured this target a short while ago and waits until ${until}`);
    if (await this.#takeSlot(rule, runId, now)) return undefined;
    if (rule.limits.cooldownSeconds > 0) await this.#giveBack('cooldown', cooldownKey(rule, target), runId);
    return no('concurrency', `Rule ${rule.name} has ${rule.limits.concurrent} captures under way, which is its limit`);
  }

  /** A cool-down in force counts on its run: a claim whose run is not there passes for one that came to nothing. */
  async isCoolingDown(run: Run, now: Date): Promise<boolean> {
    const { rule } = run.trigger;
    if (rule === undefined) return false;
    const row = await this.#table.get<Claim>('cooldown', cooldownKey({ name: rule }, run.target));
    return row?.value.runId === run.id && new Date(row.value.until ?? 0) > now;
  }

  /** Undefined when the cool-down is over and now this run's, else when it ends. */
  async #takeCooldown(rule: Rule, target: string, runId: string, now: Date): Promise<string | undefined> {
    if (rule.limits.cooldownSeconds === 0) return undefined;
    const key = cooldownKey(rule, target);
    const until = new Date(now.getTime() + rule.limits.cooldownSeconds * 1000).toISOString();
    const claim: Claim = { runId, at: now.toISOString(), until };
    for (let attempt = 0; attempt < attempts; attempt++) {
      const row = await this.#table.get<Claim>('cooldown', key);
      if (!row) {
        if (await this.#table.insert('cooldown', key, claim)) return undefined;
        continue;
      }
      if (row.value.runId === runId) return undefined;
      const over = new Date(row.value.until ?? 0) <= now;
      if (!over && !(await this.#cameToNothing(row.value, now))) return row.value.until;
      if (await this.#table.replace('cooldown', key, row.etag, claim)) return undefined;
    }
    return until;
  }

  async #takeSlot(rule: Rule, runId: string, now: Date): Promise<boolean> {
    const { concurrent } = rule.limits;
    if (concurrent === undefined) return true;
    const partition = `slots-${rule.name}`;
    const claim: Claim = { runId, at: now.toISOString() };
    for (let attempt = 0; attempt < attempts + concurrent; attempt++) {
      const taken = new Map((await this.#table.scan<Claim>(partition, { limit: 1000 })).map((row) => [row.row, row]));
      if ([...taken.values()].some((row) => row.value.runId === runId)) return true;
      let claimed: boolean | undefined;
      for (let i = 0; i < concurrent && claimed === undefined; i++) {
        const key = String(i).padStart(3, '0');
        const row = taken.get(key);
        if (!row) claimed = await this.#table.insert(partition, key, claim);
        else if (await this.#isFree(row.value, now))
          claimed = await this.#table.replace(partition, key, row.etag, claim);
      }
      if (claimed === undefined) return false;
      if (claimed) return true;
      // Somebody was faster, perhaps for this very run: look again.
    }
    return false;
  }

  async #giveBack(partition: string, key: string, runId: string): Promise<void> {
    const row = await this.#table.get<Claim>(partition, key);
    // An end in the past, written only if nobody wrote since.
    if (row?.value.runId === runId)
      await this.#table.replace(partition, key, row.etag, { ...row.value, until: row.value.at });
  }

  /** The session behind a slot is over, or never was. */
  async #isFree(claim: Claim, now: Date): Promise<boolean> {
    const run = await this.#runs.get(claim.runId);
    if (!run) return isAbandoned(claim, now);
    return run.state === 'collecting' || run.state === 'completed' || run.state === 'failed';
  }

  async #cameToNothing(claim: Claim, now: Date): Promise<boolean> {
    const run = await this.#runs.get(claim.runId);
    return run ? run.state === 'failed' : isAbandoned(claim, now);
  }
}

function cooldownKey(rule: Pick<Rule, 'name'>, target: string): string {
  return deriveId(rule.name, target);
}

function isAbandoned(claim: Claim, now: Date): boolean {
  return now.getTime() - Date.parse(claim.at) > abandonedMs;
}
