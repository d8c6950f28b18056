/**
 * The network around the emulated VM. Packets are real, so every address and port of the VM's view stands for one on
 * the loopback interface:
 *
 * | in the VM's view                     | on this machine                                                        |
 * |--------------------------------------|------------------------------------------------------------------------|
 * | the VM, 10.0.0.4                     | 127.0.0.4                                                              |
 * | a peer, a.b.c.d                      | 127.b.c.d (everything is 127.0.0.1 where the system has no 127.0.0.0/8) |
 * | a service's port                     | any free one; 80, 443 and 53 themselves where they may be bound, so    |
 * |                                      | that tools recognise the protocols                                     |
 * | a client's port (ephemeral)          | the port itself                                                        |
 *
 * A filter is written in the VM's view and finds its packets through this table (filter.ts). The table in force is
 * shown by `GET /_traffic`.
 */
export const VM_ADDRESS = '10.0.0.4';

export type Protocol = 'TCP' | 'UDP';

/** A service the VM uses (`out`: it runs at the peer) or offers (`in`: it runs on the VM). */
export type Service = {
  name: 'web' | 'api' | 'database' | 'dns' | 'app';
  direction: 'out' | 'in';
  protocol: Protocol;
  /** The other side, in the VM's view. */
  peer: string;
  /** The service's port, in the VM's view. */
  port: number;
};

/** A service with the loopback addresses and the port that stand for it. */
export type BoundService = Service & { realVm: string; realPeer: string; realPort: number };

export const SERVICES = {
  web: { name: 'web', direction: 'out', protocol: 'TCP', peer: '203.0.113.20', port: 80 },
  api: { name: 'api', direction: 'out', protocol: 'TCP', peer: '203.0.113.10', port: 443 },
  database: { name: 'database', direction: 'out', protocol: 'TCP', peer: '10.0.1.5', port: 5432 },
  dns: { name: 'dns', direction: 'out', protocol: 'UDP', peer: '168.63.129.16', port: 53 },
  app: { name: 'app', direction: 'in', protocol: 'TCP', peer: '198.51.100.7', port: 8080 },
} as const satisfies Record<Service['name'], Service>;

/** Names the VM looks up and talks to; the last one does not exist. */
export const HOST_NAMES = ['api.example.com', 'login.example.com', 'cdn.example.net', 'nowhere.example.org'] as const;

/** The loopback address that stands for an address of the VM's view. */
export function loopbackOf(address: string): string {
  return `127${address.slice(address.indexOf('.'))}`;
}
