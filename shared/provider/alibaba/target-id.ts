/** What can be mirrored: an ECS instance (its primary network interface), or a network interface. */
export type MirrorTarget = {
  kind: 'instance' | 'eni';
  /** `acs:ecs:<region>:<account>:instance/<i-…>` or `…:eni/<eni-…>`, all in lower case. */
  id: string;
  region: string;
  account: string;
  /** `i-…` or `eni-…`. */
  resource: string;
};

const pattern = /^acs:ecs:([a-z0-9-]*):(\d*):(instance|eni)\/((?:i|eni)-[a-z0-9_-]{1,64})$/;

/** Reads such an id in any case, or a bare `i-…` or `eni-…`; region and account may be empty. Undefined for everything else. */
export function parseTargetId(id: string, inRegion = ''): MirrorTarget | undefined {
  const bare = /^(i|eni)-/i.exec(id)?.[1]?.toLowerCase();
  const whole = bare === undefined ? id : `acs:ecs:${inRegion}::${bare === 'i' ? 'instance' : 'eni'}/${id}`;
  const canonical = whole.toLowerCase();
  const [, region = '', account = '', kind, resource = ''] = pattern.exec(canonical) ?? [];
  if (kind === 'instance' && resource.startsWith('i-')) return { kind, id: canonical, region, account, resource };
  if (kind === 'eni' && resource.startsWith('eni-')) return { kind, id: canonical, region, account, resource };
  return undefined;
}
