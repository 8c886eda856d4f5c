/** Class of the bytes of a token (RFC 9110, 5.6.2): methods, header names, connection options. */
export const tokenByte = 1;

/** Class of the bytes inside a header value: visible ASCII, space, tab, and the upper half (RFC 9110, 5.5). */
export const valueByte = 2;

/**
 * Class of the bytes of a request target: RFC 3986 without `#`, and the seven that URL serialisers of browsers leave
 * raw. `"`, `<`, `>` and `\` are in none of them.
 */
export const targetByte = 4;

/** Class of the bytes of a host name or IPv4 address. */
export const hostByte = 8;

/** Class of hexadecimal digits. */
export const hexByte = 16;

/** Class of decimal digits. */
export const digitByte = 32;

export const tab = 0x09;
export const lineFeed = 0x0a;
export const carriageReturn = 0x0d;
export const space = 0x20;
export const hash = 0x23;
export const comma = 0x2c;
export const slash = 0x2f;
export const colon = 0x3a;
export const semicolon = 0x3b;
export const underscore = 0x5f;
const del = 0x7f;

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const digits = "0123456789";
const classes = new Uint8Array(256);
const lowerCase = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte,
);

enter(tokenByte, `${letters}${digits}!#$%&'*+-.^_\`|~`);
enter(targetByte, `${letters}${digits}-._~:/?@!$&'()*+,;=%[]{}|^\``);
enter(hostByte, `${letters}${digits}-._`);
enter(hexByte, `${digits}abcdefABCDEF`);
enter(digitByte, digits);
for (let byte = space; byte < 256; byte += 1) if (byte !== del) enterByte(valueByte, byte);
enterByte(valueByte, tab);

/** Whether a byte is of a class; a byte that is not there (undefined) is of none. */
export function isOf(byteClass: number, byte: number | undefined): boolean {
  return byte !== undefined && ((classes[byte] ?? 0) & byteClass) !== 0;
}

/** A byte with ASCII capitals made small. */
export function lowerCased(byte: number | undefined): number {
  return byte === undefined ? 0 : (lowerCase[byte] ?? 0);
}

/** Whether `window[start, end)` spells a text of lower-case ASCII, in either case. */
export function spells(window: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let index = 0; index < text.length; index += 1)
    if (lowerCased(window[start + index]) !== text.charCodeAt(index)) return false;
  return true;
}

/** Whether a byte may stand neither in a value nor in a target nor as a line end: NUL, controls, DEL. */
export function isControl(byte: number | undefined): boolean {
  return byte !== undefined && (byte < space || byte === del) && byte !== tab;
}

function enter(byteClass: number, text: string): void {
  for (const character of text) enterByte(byteClass, character.charCodeAt(0));
}

function enterByte(byteClass: number, byte: number): void {
  classes[byte] = (classes[byte] ?? 0) | byteClass;
}
