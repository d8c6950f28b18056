import { at, memberOf, textOf } from '../read.ts';

/** What tells a test by the button "Test action group" from an alert. */
export type Signs = {
  alertId?: string | undefined;
  /** Name of the alert rule; empty in schemas that have none. */
  rule: string;
  ids: string[];
  description: string | undefined;
  context: unknown;
  /** The custom properties beside the context. */
  custom: unknown;
};

/** The names that the button gives its alert rules, to the letter. */
const rules = new Set([
  'test-metricAlertRule',
  'test-logAlertRule-v1-metricMeasurement',
  'test-logAlertRule-v1-numResults',
  'test-logAlertRule-v1',
  'test-logAlertRule-v2',
  'test-activityLogAlertRule',
  'test-ResourceHealthAlertRule',
  'test-ServiceHealthAlertRule',
  'Dependency Latency Degradation - test-applicationInsights',
]);
/** What its alerts are about: one of these in the resource group test-RG, of whatever subscription. */
const resource =
  /^\/subscriptions\/[^/]+\/resourcegroups\/test-rg\/providers\/[^/]+\/[^/]+\/(test-storageaccount|test-vm|test-loganalyticsworkspace|test-applicationinsights)$/i;
const subscription = /^\/subscriptions\/[^/]+\/?$/i;
const descriptions = new Set(['Alert rule description', 'Alertruledescription']);
const healthTitle = 'Test Action Group - Test Service Health Alert';
const budgets = new Set(['Test_actual_cost_budget', 'Test_forcasted_budget', 'Test_forecasted_budget']);

/**
 * Whether this is what the button "Test action group" of the portal sends. The ids in it are placeholders that Microsoft changes
 * now and then, so it is told by two things at once, of which a real alert may well have one: the name of the rule and what it
 * is about; or, where the payload has no name or is about a whole subscription, the constants of that payload.
 */
export function isTestAlert({ alertId, rule, ids, description, context, custom }: Signs): boolean {
  const properties = memberOf(context, 'properties');
  const title = textOf(memberOf(properties, 'title')) ?? textOf(memberOf(properties, 'defaultLanguageTitle'));
  const resources = ids.filter((id) => !subscription.test(id));
  const ofButton = resources.length > 0 && resources.every((id) => resource.test(id));
  if (rules.has(rule)) {
    if (resources.length > 0) return ofButton;
    return title === healthTitle || descriptions.has(description ?? '');
  }
  // The older schema of the activity log has no name of a rule.
  if (rule === '' && hasConstants(custom)) return ofButton || (resources.length === 0 && title === healthTitle);
  const budget = textOf(at(context, 'AlertData', 'BudgetName'));
  return /\/Microsoft\.CostManagement\/alerts\/Test_Alert$/i.test(alertId ?? '') && budgets.has(budget ?? '');
}

function hasConstants(custom: unknown): boolean {
  return memberOf(custom, 'customKey1') === 'value1' && memberOf(custom, 'customKey2') === 'value2';
}
