/** What Azure Resource Manager answers: a status, headers, and a body (`undefined` = none, `null` = the four bytes `null`). */
export type Answer = { status: number; headers?: Record<string, string>; body?: unknown };

export function ok(body: unknown, headers: Record<string, string> = {}): Answer {
  return { status: 200, headers, body };
}

/** An error in ARM's shape. `details` is there in errors of Microsoft.Network, not in those of ARM's front door. */
export function failure(status: number, code: string, message: string, details?: object[]): Answer {
  return { status, body: { error: details ? { code, message, details } : { code, message } } };
}

/** 404 of Microsoft.Network, as recorded for a packet capture. */
export function notFound(id: string): Answer {
  return failure(404, 'NotFound', `Resource ${id} not found.`, []);
}

/** GUESS: 404 of ARM's front door for a resource that is not there; no recording has one. */
export function resourceNotFound(type: string, name: string, resourceGroup: string): Answer {
  return failure(
    404,
    'ResourceNotFound',
    `The Resource '${type}/${name}' under resource group '${resourceGroup}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix`,
  );
}

/** 400 for a parameter, as recorded for a VM extension. */
export function invalidParameter(name: string): Answer {
  return {
    status: 400,
    body: { error: { code: 'InvalidParameter', message: `The value of parameter ${name} is invalid.`, target: name } },
  };
}
