/** Instances on one node: its agent serves no more, and the control plane registers no more. */
export const instancesPerNodeMax = 2_000;
/** Instances of which one proxy says how its requests go there. */
export const calledMax = 256;
