/** Instances of which one proxy says how its requests go there. */
export const calledMax = 256;
