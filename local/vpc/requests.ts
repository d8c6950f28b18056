/** A call of the cloud as it is kept in the request log. */
export type LoggedRequest = {
  time: string;
  method: string;
  version: string;
  action: string;
  /** Without tokens of identity. */
  parameters: Record<string, string>;
  /** Who signed it. */
  accessKeyId?: string;
  /** 0 when there was no answer. */
  status: number;
  /** The code of an error. */
  code?: string;
  requestId: string;
  /** The fault that the answer was due to. */
  fault?: string;
  /** It came before the time that this very call had been told to wait for. */
  violation?: true;
};
