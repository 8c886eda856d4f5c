/** The forms in which answers are printed. */
export const outputFormats = ["table", "wide", "json", "yaml"] as const;

/** How an answer is printed. */
export type OutputFormat = (typeof outputFormats)[number];
