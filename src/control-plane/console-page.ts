/** What the page shows. */
export interface ConsoleView {
  readonly trustDomain: string;
  readonly name: string;
  readonly role: string;
  readonly endsAtSeconds: number;
  readonly treeSize: number;
  readonly epoch: number;
  readonly nodes: number;
  readonly proxies: number;
  readonly proposals: number;
  readonly alarms: number;
}

/** The page of a session: who is signed in, until when, and how the mesh is. No script, no style from elsewhere. */
export function consolePage(view: ConsoleView): string {
  const rows: readonly (readonly [string, string | number])[] = [
    ["Signed in as", `${view.name} (${view.role})`],
    ["Until", new Date(view.endsAtSeconds * 1000).toISOString()],
    ["Trust log", `${view.treeSize} entries, epoch ${view.epoch}`],
    ["Nodes", view.nodes],
    ["Proxies", view.proxies],
    ["Proposals that wait", view.proposals],
    ["Alarms", view.alarms],
  ];
  const table = rows.map(([term, value]) => `<dt>${escaped(term)}</dt><dd>${escaped(String(value))}</dd>`);
  return document(`Troth: ${view.trustDomain}`, `<dl>${table.join("")}</dl>`);
}

/** A page with one sentence. */
export function sentencePage(sentence: string): string {
  return document("Troth", `<p>${escaped(sentence)}</p>`);
}

function document(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title></head><body><h1>${escaped(title)}</h1>${body}</body></html>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}
