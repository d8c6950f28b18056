import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, newRequestId, success, type Answer } from './answer.ts';
import { operationOf, productOf } from './api.ts';
import { readBody, readCall, type Call } from './call.ts';
import { ownCall, type OwnCalls } from './control.ts';
import { faultAnswer } from './fault-answers.ts';
import { sendUnusual, type Unusual } from '../emulator/unusual.ts';
import type { FrontDoor } from './front-door.ts';
import type { Fate, Injector } from './injector.ts';
import { missing, Refusal } from './refusal.ts';
import type { Body, Context, Operation } from './operation.ts';
import type { Parameters } from './parameters.ts';
import { settle } from './settle.ts';
import type { Tokens } from './tokens.ts';

/** The HTTP side: the gateway's checks, client tokens, dry runs, and the faults of calls. */
export type ServerOptions = OwnCalls & {
  frontDoor: FrontDoor;
  injector: Injector;
  tokens: Tokens;
  context: Omit<Context, 'now'>;
};

export function createVpcServer(options: ServerOptions): Server {
  return createServer((request, response) => {
    answerTo(request, options).then(
      (answer) => send(response, answer),
      (error: unknown) => {
        process.stdout.write(`vpc: ${request.method}: ${(error as Error).stack}\n`);
        send(response, failure(newRequestId(), new Refusal('InternalError'), '127.0.0.1', 'Vpc'));
      },
    );
  });
}

async function answerTo(request: IncomingMessage, options: ServerOptions): Promise<Answer | Unusual> {
  const body = await readBody(request);
  const path = (request.url ?? '/').split('?')[0] ?? '/';
  if (path.startsWith('/_')) return ownCall(request.method ?? 'GET', path, body.toString(), options);

  const call = readCall(request, body);
  const requestId = newRequestId();
  const { faults } = options.state.content;
  if (faults.delayMs > 0) await sleep(faults.delayMs);
  const { answer, fate } = await faultyCall(call, requestId, options);
  log(call, requestId, answer, fate, options);
  return answer;
}

/** The answer to a call, or what a fault makes of it. A call that may not pass the front door is refused in any case. */
async function faultyCall(
  call: Call,
  requestId: string,
  { state, frontDoor, injector, tokens, context }: ServerOptions,
): Promise<{ answer: Answer | Unusual; fate?: Fate }> {
  const occasion = { requestId, host: call.host, product: productOf(call.version), action: call.action };
  const refused = (refusal: unknown): Answer => {
    if (!(refusal instanceof Refusal)) throw refusal;
    return failure(requestId, refusal, occasion.host, occasion.product);
  };
  if (state.content.faults.down) return { answer: refused(new Refusal('ServiceUnavailable')) };
  let operation: Operation;
  try {
    if (call.path !== '/') throw new Refusal('InvalidAction.NotFound');
    operation = operationOf(call);
    if (operation.product !== 'Sts') frontDoor.check(call, Date.now());
  } catch (error) {
    return { answer: refused(error) };
  }
  const fate = injector.fateOf({ action: call.action, parameters: call.parameters.entries() }, Date.now());
  if (fate.delayMs > 0) await sleep(fate.delayMs);
  const usual = (): Answer => {
    const now = Date.now();
    settle(state, now);
    try {
      return success(requestId, perform(operation, call.parameters, { ...context, now }, tokens));
    } catch (error) {
      return refused(error);
    }
  };
  const carried = fate.carriedOut ? usual() : undefined;
  const answer = faultAnswer(fate, occasion) ?? carried;
  if (!answer) throw new Error('a call that is neither carried out nor answered');
  return { answer, fate };
}

function perform(operation: Operation, parameters: Parameters, context: Context, tokens: Tokens): Body {
  checkRegion(operation, parameters.text('RegionId'), context.region);
  const dryRun = operation.dryRun && parameters.flag('DryRun') === true;
  const remembers = operation.idempotent && !dryRun;
  const before = remembers ? tokens.answerBefore(operation.action, parameters) : undefined;
  if (before) return before;
  const carryOut = operation.prepare(parameters, context);
  if (dryRun) throw new Refusal('DryRunOperation');
  const body = carryOut();
  if (remembers) tokens.remember(operation.action, parameters, body, context.now);
  if (operation.effect) context.state.save();
  return body;
}

function checkRegion(operation: Operation, given: string | undefined, region: string): void {
  if (operation.region === 'none') return;
  if (given === undefined && operation.region === 'required') throw missing('RegionId');
  // GUESS: what a region's own address says to the name of another region.
  if (given !== undefined && given !== region) throw new Refusal('UnsupportedRegion');
}

function log(
  call: Call,
  requestId: string,
  answer: Answer | Unusual,
  fate: Fate | undefined,
  options: ServerOptions,
): void {
  const { OIDCToken: _, ...parameters } = Object.fromEntries(call.parameters.entries());
  const signer = /Credential=([^,]+)/.exec(call.headers['authorization'] ?? '')?.[1];
  const code = 'body' in answer ? answer.body['Code'] : undefined;
  const fault = fate?.code?.code ?? fate?.answer;
  options.requests.add({
    time: new Date().toISOString(),
    method: call.method,
    version: call.version,
    action: call.action,
    parameters,
    ...(signer ? { accessKeyId: signer } : {}),
    status: 'status' in answer ? answer.status : 0,
    ...(typeof code === 'string' ? { code } : {}),
    requestId,
    ...(fault ? { fault } : {}),
    ...(fate?.violation ? { violation: true } : {}),
  });
}

function send(response: ServerResponse, answer: Answer | Unusual): void {
  if ('drop' in answer || 'text' in answer) return sendUnusual(response, answer);
  const text = JSON.stringify(answer.body);
  response.writeHead(answer.status, {
    'content-type': 'application/json;charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...answer.headers,
  });
  response.end(text);
}
