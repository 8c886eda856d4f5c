import type { ResponseHead } from "./forwarding.ts";

/** The values of a field of a response, whatever protocol it came by; the name in lower case. */
export function responseValues(head: ResponseHead, name: string): readonly string[] {
  if ("section" in head) return head.section.valuesOf(name);
  let values: string[] | undefined;
  for (const field of head.fields) if (field.name === name) (values ??= []).push(field.value);
  return values ?? noValues;
}

const noValues: readonly string[] = [];

const eventStream = /^text\/event-stream(?:$|[ \t;])/i;

/** Whether a response goes on for as long as somebody listens (server-sent events). */
export function isEventStream(head: ResponseHead): boolean {
  return responseValues(head, "content-type").some((type) => eventStream.test(type));
}
