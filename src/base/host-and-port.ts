import { MeshError } from "./mesh-error.ts";

/** Splits host:port; throws `ERR_ADDRESS` for anything else. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^(.+):([0-9]{1,5})$/.exec(address) ?? [];
  if (host === undefined || port === undefined || Number(port) > 65_535)
    throw new MeshError("ERR_ADDRESS", `${address} is not host:port`);
  return { host, port: Number(port) };
}
