/** Where telemetry goes, and under which name. */
export type TelemetryConfig = {
  /** Of Application Insights. */
  connectionString: string;
  /** Given when what is sent must carry a token of this managed identity. */
  identity: { clientId: string | undefined } | undefined;
  /** Name of the app, as its host tells it. */
  role: string;
  /** Which of the app's instances this is; undefined: the name of the machine will do. */
  instance: string | undefined;
};

/** Reads the settings of telemetry; undefined when it is off. No problem repeats a value: problems can be read by anyone. */
export function readTelemetry(
  connectionString: string,
  authentication: string,
  env: Readonly<Record<string, string | undefined>>,
  problems: string[],
): TelemetryConfig | undefined {
  if (connectionString === '') return undefined;
  const pairs = readPairs(connectionString);
  const { instrumentationkey: key = '', ingestionendpoint: endpoint } = pairs;
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(key) || (endpoint !== undefined && !isWebUrl(endpoint))) {
    problems.push(
      'APPLICATIONINSIGHTS_CONNECTION_STRING must look like InstrumentationKey=<GUID>;IngestionEndpoint=https://…; no telemetry is sent',
    );
    return undefined;
  }
  const { authorization = '', clientid: clientId } = readPairs(authentication);
  const withTokens = authorization.toLowerCase() === 'aad';
  if (authentication !== '' && !withTokens)
    problems.push(
      'APPLICATIONINSIGHTS_AUTHENTICATION_STRING must be Authorization=AAD or Authorization=AAD;ClientId=<GUID>; telemetry is sent without tokens',
    );
  return {
    // The SDK drops a whole string for one part that is no pair, such as the nothing after a last semicolon, and wants the key in lower case.
    connectionString: Object.entries({ ...pairs, instrumentationkey: key.toLowerCase() })
      .map(([name, value]) => `${name}=${value}`)
      .join(';'),
    identity: withTokens ? { clientId } : undefined,
    role: env['WEBSITE_SITE_NAME']?.trim() || 'tripcap',
    instance: env['WEBSITE_INSTANCE_ID']?.trim() || undefined,
  };
}

/** `A=1;B=2`, names in lower case; what is no pair is left out. */
function readPairs(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([^;=]+)=([^;=]+)/g)].map(([, name = '', value = '']) => [
      name.trim().toLowerCase(),
      value.trim(),
    ]),
  );
}

function isWebUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
