import { expect, it } from 'vitest';
import { problemStatus } from '../../shared/problem.ts';
import { ignoredReasons } from '../../shared/rule/plan.ts';
import { runStates, stopReasons, timelineEvents } from '../../shared/run/run.ts';
import { runVerdicts } from '../../shared/run/verdict.ts';
import { providerErrors } from '../../shared/provider/provider.ts';

// The closed lists of the public contract, written out a second time: a change of one is a change of the contract, and is made
// on purpose in both places and in the docs.

it('reasons for ignoring', () => {
  expect([...ignoredReasons]).toEqual([
    'no-rule',
    'resolved',
    'no-data',
    'test',
    'unsupported-target',
    'unknown-target',
    'subscription-not-configured',
    'ambiguous-target',
    'cooldown',
    'concurrency',
    'rate',
    'budget',
    'max-targets',
  ]);
});

it('reasons for stopping', () => {
  expect([...stopReasons]).toEqual([
    'time-limit',
    'size-limit',
    'budget',
    'alert-resolved',
    'operator',
    'replaced',
    'cloud',
    'lost',
    'leak',
  ]);
});

it('states of a run', () => {
  expect([...runStates]).toEqual(['accepted', 'starting', 'running', 'stopping', 'collecting', 'completed', 'failed']);
});

it('codes of problems, with their status', () => {
  expect(problemStatus).toEqual({
    'invalid-payload': 400,
    'unsupported-schema': 400,
    'invalid-request': 400,
    'unsupported-parameter': 400,
    unauthenticated: 401,
    forbidden: 403,
    'not-found': 404,
    refused: 409,
    'idempotency-conflict': 409,
    'payload-too-large': 413,
    internal: 500,
    'storage-unavailable': 503,
    'cloud-unavailable': 503,
  });
});

it('verdicts: those of a run, and the errors of a cloud', () => {
  expect([...runVerdicts]).toEqual([
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
  ]);
  expect(Object.fromEntries(Object.entries(providerErrors).map(([code, { retry }]) => [code, retry]))).toEqual({
    'target-not-found': false,
    'agent-missing': false,
    'agent-failed': false,
    'no-watcher': false,
    'no-account': false,
    invalid: false,
    forbidden: false,
    unauthenticated: false,
    conflict: true,
    quota: false,
    account: false,
    'mirrored-already': false,
    'no-collector': true,
    throttled: true,
    unavailable: true,
  });
});

it('every error of a cloud says what to do next, in a sentence', () => {
  for (const { next } of Object.values(providerErrors)) expect(next).toMatch(/^[A-Z].{20,}\.$/);
});

it('events of the timeline', () => {
  expect([...timelineEvents]).toEqual([
    'created',
    'start-asked',
    'start-delayed',
    'enable-asked',
    'running',
    'stop-requested',
    'stop-asked',
    'stop-failed',
    'ended',
    'alarm',
    'file',
    'completed',
    'failed',
    'removal-asked',
    'removed',
  ]);
});
