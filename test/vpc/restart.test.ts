import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { COLLECTOR, Emulator, Target } from './harness.ts';

test('a killed emulator goes on where it was', async () => {
  await using target = await Target.open();
  const first = await Emulator.start(['--pace', '0.02', '--target', `${COLLECTOR}=${target.address}`]);
  const token = { ClientToken: 'made-before-the-kill', TrafficMirrorSessionName: 'survivor' };
  const given = { ...token, Priority: 50, VirtualNetworkId: 50, Enabled: true };
  const id = await first.session(given);
  await target.arrived(50, 5);
  await first.control({ faults: { calls: [{ on: 'DeleteTrafficMirrorSession', code: 'SystemBusy', times: 2 }] } });
  const filter = await first.filter({ TrafficMirrorFilterName: 'kept' });
  const before = await first.listed(id);
  const keys = await temporaryKeys(first);
  // Killed in the middle of a change, and of many writes.
  await first.control({ faults: { settleSeconds: 0.5 } });
  const change = { TrafficMirrorSessionId: 'tms-prepared0001', TrafficMirrorSessionName: 'changed' };
  await first.done('UpdateTrafficMirrorSessionAttribute', change);
  const writing = writeForever(first);
  await until('some writes', async () => (await first.own('/_log')).length > 40);
  await first.stop('SIGKILL');
  await writing;
  const received = target.of(50).length;

  // The target was told before: it need not be told again.
  await using second = await Emulator.start(['--pace', '0.02'], first.data);
  expect(await second.listed(id)).toEqual(before);
  expect(await second.settled('tms-prepared0001')).toMatchObject({ TrafficMirrorSessionName: 'changed' });
  await target.arrived(50, received + 5);
  // The same token still makes no second session.
  expect(await second.session(given)).toBe(id);
  expect((await second.done('ListTrafficMirrorSessions', { Priority: 50 })).TotalCount).toBe('1');
  expect((await second.filterSettled(filter)).TrafficMirrorFilterName).toBe('kept');
  const busy = await second.call('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id });
  expect(busy.body.Code).toBe('SystemBusy');
  expect((await second.call('ListTrafficMirrorSessions', {}, { keys })).status).toBe(200);
  const log = await second.own('/_log');
  expect(log.some((each: any) => each.parameters.TrafficMirrorSessionName === 'survivor')).toBe(true);
});

async function temporaryKeys(emulator: Emulator) {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const given = {
    OIDCProviderArn: 'acs:ram::1:oidc-provider/azure',
    RoleArn: 'acs:ram::1:role/mirror',
    RoleSessionName: 'tripcap',
    OIDCToken: `${part({})}.${part({ aud: 'sts.aliyuncs.com', iss: 'i', sub: 's' })}.x`,
  };
  const { Credentials } = await emulator.done('AssumeRoleWithOIDC', given, { product: 'Sts' });
  const { AccessKeyId: id, AccessKeySecret: secret, SecurityToken: securityToken } = Credentials;
  return { id, secret, securityToken };
}

/** Until the emulator is gone. */
async function writeForever(emulator: Emulator): Promise<void> {
  const filter = { ResourceType: 'TRAFFICMIRRORFILTER', ResourceId: ['tmf-all0001'] };
  for (let i = 0; ; i += 1) {
    const tag = { ...filter, Tag: [{ Key: 'n', Value: String(i) }] };
    if (!(await emulator.call('TagResources', tag).catch(() => undefined))) return;
  }
}

test('a target that is not on this machine is refused', async () => {
  await expect(Emulator.start(['--target', 'eni-x=192.0.2.1:4789'])).rejects.toThrow('ended early');
});
