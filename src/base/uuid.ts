/** A UUID as this software writes it: small letters, with hyphens (RFC 9562, section 4). */
export const uuidPattern: RegExp = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
