/** Writes one line of JSON to standard error; never a card number, never a body. */
export function writeErrorLine(
  service: string,
  message: string,
  fields: Readonly<Record<string, string | number>>,
): void {
  console.error(JSON.stringify({ level: "error", service, message, ...fields }));
}
