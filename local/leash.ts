// Preloaded into every process of the sandbox: when the supervisor dies, however it dies, its end of the pipe closes and they end too.
process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
process.stdin.resume();
