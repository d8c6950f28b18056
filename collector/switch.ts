/** What can switch a mirror session off. */
export interface MirrorSwitch {
  /**
   * Asks for the session to be disabled; a session that does not exist counts as asked. The work itself is done later.
   *
   * @param token the same for the same request, so that a repeat has no second effect
   * @throws SwitchError
   */
  disable(region: string, session: string, token: string): Promise<void>;
  /** Whether the session mirrors; one that does not exist does not. @throws SwitchError */
  isEnabled(region: string, session: string): Promise<boolean>;
}

/** Why a session could not be switched off or looked at, in words without secrets. */
export class SwitchError extends Error {
  /** The cloud's code, if it gave one. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.name = 'SwitchError';
    this.code = code;
  }
}
