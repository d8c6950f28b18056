import { describe, expect, it } from 'vitest';
import { readConfig } from '../../shared/config.ts';

const key = '12345678-ABCD-0000-0000-000000000000';

function read(connection: string | undefined, authentication?: string, more: Record<string, string> = {}) {
  const { telemetry, problems } = readConfig({
    AzureWebJobsStorage: 'UseDevelopmentStorage=true',
    APPLICATIONINSIGHTS_CONNECTION_STRING: connection,
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: authentication,
    ...more,
  });
  return { telemetry, problems };
}

describe('telemetry', () => {
  it.each([undefined, '', '  '])('is off without a connection string (%j), whatever else is set', (none) => {
    expect(read(none, 'nonsense')).toEqual({ telemetry: undefined, problems: [] });
  });

  it('takes what the portal gives, also with a semicolon at the end', () => {
    const given = `InstrumentationKey=${key};IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;LiveEndpoint=https://x/;ApplicationId=y;`;
    expect(read(given)).toEqual({
      telemetry: {
        connectionString: `instrumentationkey=${key.toLowerCase()};ingestionendpoint=https://westeurope-5.in.applicationinsights.azure.com/;liveendpoint=https://x/;applicationid=y`,
        identity: undefined,
        role: 'tripcap',
        instance: undefined,
      },
      problems: [],
    });
  });

  it('goes under the name of the app', () => {
    const { telemetry } = read(`InstrumentationKey=${key}`, '', { WEBSITE_SITE_NAME: 'fn', WEBSITE_INSTANCE_ID: 'i7' });
    expect(telemetry).toMatchObject({ role: 'fn', instance: 'i7' });
  });

  it.each([
    'secret',
    'InstrumentationKey=secret',
    'IngestionEndpoint=https://secret/',
    `InstrumentationKey=${key};IngestionEndpoint=secret`,
    `InstrumentationKey=${key};IngestionEndpoint=file:///secret`,
  ])('is off, with a problem that does not repeat it, for %s', (broken) => {
    const { telemetry, problems } = read(broken);
    expect(telemetry).toBeUndefined();
    expect(problems).toEqual([expect.stringMatching(/^APPLICATIONINSIGHTS_CONNECTION_STRING must look like/)]);
    expect(problems.join()).not.toContain('secret');
  });

  it.each([
    ['Authorization=AAD', { clientId: undefined }, 0],
    ['authorization=aad; ClientId=c1;', { clientId: 'c1' }, 0],
    ['', undefined, 0],
    ['ClientId=c1', undefined, 1],
    ['Authorization=Key', undefined, 1],
  ])('with the authentication string "%s" sends tokens of %j', (authentication, identity, count) => {
    const { telemetry, problems } = read(`InstrumentationKey=${key}`, authentication);
    expect(telemetry?.identity).toEqual(identity);
    expect(problems).toHaveLength(count);
  });
});
