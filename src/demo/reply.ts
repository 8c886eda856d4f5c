/** An answer of one service to another, or of the mesh on its behalf. */
export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** An answer in JSON. */
export function jsonReply(status: number, value: unknown): Reply {
  return { status, contentType: "application/json", body: `${JSON.stringify(value)}\n` };
}

/** An error answer in JSON: `error` is a kebab-case reason, `detail` is for people. */
export function errorReply(status: number, error: string, detail: string): Reply {
  return jsonReply(status, { error, detail });
}

/** Whether the request was done. */
export function isSuccess({ status }: Reply): boolean {
  return status >= 200 && status < 300;
}

/** Whether the body is JSON or, as the mesh's refusals are, `application/problem+json`. */
export function isJson({ contentType }: Reply): boolean {
  return /^application\/(?:[a-z.-]+\+)?json(?:;|$)/i.test(contentType);
}
