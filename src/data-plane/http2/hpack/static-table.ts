import { HeaderField, isSensitiveName, kindOfName } from "./header-field.ts";

/** Names and values of RFC 7541, Appendix A: `name` or `name=value`, in order. */
const entries = `
:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204
:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`;

/** The 61 fields that stand in both peers' tables from the start; index 1 is the first (RFC 7541, 2.3.1). */
export const staticTable: readonly HeaderField[] = entries
  .trim()
  .split(/[|\n]/)
  .map((entry) => {
    const [name = "", value = ""] = entry.split("=");
    return new HeaderField(name, value, kindOfName(name), isSensitiveName(name));
  });
