/** Fields beside a constant message; never a secret, never a body. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where a process writes what happened: constant messages, data in fields (house style 10). */
export interface Log {
  readonly debug: (message: string, fields?: LogFields) => void;
  readonly info: (message: string, fields?: LogFields) => void;
  readonly warn: (message: string, fields?: LogFields) => void;
  readonly error: (message: string, fields?: LogFields) => void;
}
