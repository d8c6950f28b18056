import type { Reporter, TestModule } from 'vitest/node';

/** Names every test that was skipped, at the end, where it is read: the name says what to install. */
export class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const names = modules.flatMap((module) =>
      [...module.children.allTests('skipped')].map((test) => `  ${module.relativeModuleId}: ${test.fullName}`),
    );
    if (names.length > 0) console.log(`\nSkipped:\n${names.join('\n')}\n`);
  }
}
