/** Why there is no answer. `kind` names a text; `detail` is what the server or browser said. */
export class Problem extends Error {
  constructor(kind, detail = "", waitSeconds = 0) {
    super(`${kind}: ${detail}`);
    this.kind = kind;
    this.detail = detail;
    this.waitSeconds = waitSeconds;
  }
}
