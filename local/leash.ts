// Preloaded into every process of the sandbox: when the supervisor dies, however it dies, its end of the pipe closes and they end too.
import type { Socket } from 'node:net';

const leash = process.stdin as unknown as Socket;
leash.on('end', () => process.exit(0));
leash.on('error', () => process.exit(0));
leash.resume();
// Holding the leash alone is no reason to live.
leash.unref();
