/** One readable line. Signatures of links never get in, whatever a library has put into its message. */
export function log(line: string): void {
  process.stdout.write(`collector: ${withoutSecrets(line)}\n`);
}

/** A text from outside as a part of one line. */
export function withoutSecrets(text: string): string {
  return text
    .replaceAll(/(\bsig|AccountKey|SecurityToken|Signature)=[^&\s;"']+/gi, '$1=…')
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, 500);
}
