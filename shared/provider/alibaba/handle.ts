import { ProviderError, type Session } from '../provider.ts';

/** What is needed besides its id to find a session again. */
export type Handle = {
  run: string;
  region: string;
  mode: 'create' | 'enable';
  vni?: string | undefined;
  /** Name of the filter that was made for it. */
  filter?: string | undefined;
};

export function handleOf({ id, handle }: Session): Handle {
  const { run, region, mode, vni, filter } = handle ?? {};
  if (run === undefined || region === undefined || (mode !== 'create' && mode !== 'enable'))
    throw new ProviderError('invalid', `${id} is no session of Alibaba Cloud`);
  return { run, region, mode, vni, filter };
}
