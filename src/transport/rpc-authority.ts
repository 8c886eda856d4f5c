/** The authority (RFC 9110 section 4.3) of every call between planes, whatever address it goes to. */
export const rpcAuthority = "mesh.internal";
