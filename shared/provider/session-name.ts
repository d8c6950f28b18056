/** Every session is named tripcap-<installation>-<run id>: at most 8 + 12 + 1 + 26 = 47 of the 64 characters that are safe. */
export const sessionName = {
  format: (installation: string, runId: string): string => `tripcap-${installation}-${runId}`,
  /** The run id in a name of this installation; undefined for every other name. */
  parse: (installation: string, name: string): string | undefined =>
    new RegExp(`^tripcap-${installation}-([0-9a-z]{26})$`).exec(name)?.[1],
};
