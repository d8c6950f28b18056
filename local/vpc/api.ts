import type { Product } from './answer.ts';
import { ecsOperations } from './ecs.ts';
import { filterOperations } from './filters.ts';
import type { Operation } from './operation.ts';
import { Refusal } from './refusal.ts';
import { serviceOperations } from './service.ts';
import { sessionOperations } from './sessions.ts';
import { stsOperations } from './sts.ts';
import { tagOperations } from './tags.ts';

/** All calls. The APIs share one address and are told apart by their version. */
const PRODUCTS: Record<string, Product> = { '2016-04-28': 'Vpc', '2014-05-26': 'Ecs', '2015-04-01': 'Sts' };

const OPERATIONS: Operation[] = [
  ...sessionOperations,
  ...filterOperations,
  ...serviceOperations,
  ...tagOperations,
  ...ecsOperations,
  ...stsOperations,
];

/** The product that errors of a call name; that of mirroring for a version that there is not. */
export function productOf(version: string): Product {
  return PRODUCTS[version] ?? 'Vpc';
}

/** @throws Refusal when there is no such call. */
export function operationOf({ version, action }: { version: string; action: string }): Operation {
  const product = PRODUCTS[version];
  if (!product) throw new Refusal('InvalidVersion');
  const operation = OPERATIONS.find((each) => each.product === product && each.action === action);
  if (!operation) throw new Refusal('InvalidAction.NotFound');
  return operation;
}
