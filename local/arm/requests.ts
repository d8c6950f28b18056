/** An ARM request as it is kept in the request log. */
export type LoggedRequest = {
  time: string;
  method: string;
  path: string;
  apiVersion: string | null;
  /** 0 when there was no answer. */
  status: number;
  /** The fault that the answer was due to. */
  fault?: string;
  /** It came before the time that this very call had been told to wait for. */
  violation?: true;
};
