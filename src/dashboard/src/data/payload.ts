/** Bytes, as the API has them in hexadecimal, for eyes. */

export function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length >> 1);
  for (let at = 0; at < bytes.length; ++at) bytes[at] = parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** UTF-8; what is none, and what does not print, as \xff. */
export function toText(bytes: Uint8Array): string {
  const decoder = new TextDecoder('utf-8', {fatal: true});
  const escaped = (byte: number) => '\\x' + byte.toString(16).padStart(2, '0');
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    try {
      const character = decoder.decode(bytes.slice(at, at + size));
      text += /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(character) ? escaped(first) : character;
      at += size;
    } catch {
      text += escaped(first);
      ++at;
    }
  }
  return text;
}

/** Sixteen bytes a line: where, the bytes, what is text of them. */
export function dump(bytes: Uint8Array, most = 4096): string {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, most); at += 16) {
    const part = [...bytes.slice(at, Math.min(at + 16, most))];
    const hex = part.map(b => b.toString(16).padStart(2, '0')).join(' ');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${part.map(b => (b > 31 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
  }
  if (bytes.length > most) lines.push(`… and ${bytes.length - most} more bytes`);
  return lines.join('\n');
}
