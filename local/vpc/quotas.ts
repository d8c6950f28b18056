/** How many there may be, as Alibaba's guide gives the defaults. */
export const QUOTAS = {
  sessions: 20_000,
  sourcesPerSession: 10,
  sessionsPerSource: 3,
  sessionsPerFilter: 2_000,
  sourcesPerInterface: 20,
  sourcesPerBalancer: 500,
  // GUESS: the code exists, its limit is not documented.
  sessionsPerBalancer: 500,
  filters: 100,
  rulesPerFilter: 20,
};

export type Quotas = typeof QUOTAS;
