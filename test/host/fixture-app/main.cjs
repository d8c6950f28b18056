// A small app that writes down what the host hands to it; GET /api/calls/NAME answers with that.
const { setTimeout: delay } = require('node:timers/promises');
const { app } = require('@azure/functions');
const { ResourceFactoryResolver } = require('@azure/functions-extensions-base');

ResourceFactoryResolver.getInstance().registerResourceFactory('AzureStorageBlobs', (data) =>
  JSON.parse(data.content.toString()),
);

const calls = {};
const record = (context, call) => {
  (calls[context.functionName] ??= []).push({ at: Date.now(), metadata: context.triggerMetadata, ...call });
};
const http = (name, route, handler, methods = ['GET']) =>
  app.http(name, { route, methods, authLevel: 'function', handler });

app.hook.appTerminate(() => console.log('fixture: appTerminate hook'));
app.hook.preInvocation((context) => {
  context.hookData.seen = true;
});
app.hook.postInvocation((context) => {
  if (context.invocationContext.functionName === 'hooked') {
    context.result = { jsonBody: { result: context.result, seen: context.hookData.seen } };
  }
});

http('calls', 'calls/{name}', (request) => ({ jsonBody: calls[request.params.name] ?? [] }));
http(
  'echo',
  'echo/{id}/{part?}',
  async (request, context) => ({
    status: 201,
    headers: { 'x-answer': 'yes', 'content-length': '9999' },
    cookies: [
      { name: 'a', value: 'b c', httpOnly: true, sameSite: 'Lax', maxAge: 60 },
      { name: 'd', value: 'e' },
    ],
    jsonBody: {
      method: request.method,
      url: request.url,
      params: request.params,
      query: Object.fromEntries(request.query),
      all: request.query.getAll('a'),
      header: request.headers.get('x-ms-client-principal-name'),
      body: await request.text(),
      traceParent: context.traceContext.traceParent,
    },
  }),
  ['GET', 'POST'],
);
http('literal', 'echo/literal', () => ({ body: 'literal' }));
http('wildcard', 'files/{*path}', (request) => ({ body: request.params.path ?? 'nothing' }));
http('constrained', 'numbers/{n:int}', (request) => ({ body: request.params.n }));
app.http('open', { route: 'open', authLevel: 'anonymous', handler: () => ({ body: 'open' }) });
http('binary', 'binary', async (request) => ({ body: new Uint8Array(await request.arrayBuffer()) }), ['POST']);
http('hooked', 'hooked', () => 'plain');
http('length', 'length', async (request) => ({ body: String((await request.text()).length) }), ['POST']);
http('nothing', 'nothing', () => undefined);
http('text', 'text', () => 'not an object');
http('throws', 'throws', () => {
  throw new Error('thrown by the handler');
});
http('slow', 'slow', async (request, context) => {
  record(context, {});
  await delay(1500);
  return { body: 'slept' };
});
http('dies', 'dies', () => {
  setTimeout(() => Promise.reject(new Error('nobody handles this')), 10);
  return new Promise(() => {});
});
http('off', 'off', () => ({ body: 'should be off' }));
http('late', 'late', () => {
  app.get('tooLate', () => ({}));
  return {};
});

app.timer('tick', { schedule: '%TICK_SCHEDULE%', handler: (timer, context) => record(context, { timer }) });
app.timer('slowTick', {
  schedule: '*/1 * * * * *',
  handler: async (timer, context) => {
    record(context, { phase: 'start' });
    await delay(1200);
    record(context, { phase: 'end' });
  },
});
app.timer('failingTick', {
  schedule: '*/1 * * * * *',
  handler: (timer, context) => {
    record(context, {});
    throw new Error('thrown by the timer');
  },
});
app.timer('everyMinute', { schedule: '0 * * * * *', handler: (timer, context) => record(context, { timer }) });
app.timer('yearly', { schedule: '0 0 0 1 1 *', handler: (timer, context) => record(context, { timer }) });

app.storageQueue('work', {
  queueName: '%WORK_QUEUE%',
  connection: 'Store',
  handler: async (message, context) => {
    record(context, { message });
    if (message.fail >= context.triggerMetadata.dequeueCount) throw new Error('told to fail');
    if (message.sleepMs) await delay(message.sleepMs);
  },
});

app.storageBlob('content', {
  path: 'uploads/{folder}/{name}.txt',
  connection: 'Store',
  handler: (content, context) => record(context, { content: content.toString() }),
});
app.storageBlob('named', {
  path: 'captures/{*name}',
  connection: 'Store',
  source: 'EventGrid',
  sdkBinding: true,
  handler: (blob, context) => {
    record(context, { blob });
    if (blob.BlobName.endsWith('bad')) throw new Error('told to fail');
  },
});
