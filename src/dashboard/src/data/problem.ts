/** What went wrong with a request, in words. */

export interface ProblemDocument {
  status: number;
  code: string;
  detail: string;
  hint?: string;
}

export class Problem extends Error {
  constructor(readonly document: ProblemDocument, readonly retryAfterSeconds: number | null = null) {
    super(document.detail);
  }
  get status(): number {
    return this.document.status;
  }
  get code(): string {
    return this.document.code;
  }
  get hint(): string | undefined {
    return this.document.hint;
  }
}

/** No answer at all. */
export const unreachable = (): Problem =>
  new Problem({status: 0, code: 'unreachable', detail: 'The server does not answer.', hint: 'It is asked again by itself until it does.'});

const HINTS: Record<string, string> = {
  insufficient_scope: 'The token has not this scope: sign in with another.',
  answer_too_large: 'Ask for less: a shorter range, a filter, fewer keys or rows.',
  deadline_exceeded: 'Ask for less, or give it longer: a shorter range and a filter help most.',
  overloaded: 'The server answers as many questions as it may: try again in a moment.',
  too_many_requests: 'This client has asked more often than serve.limits.rate lets it.',
};

/** Of an answer that is an error, whatever is in it: a proxy may have answered in its own way. */
export async function problemOf(response: Response): Promise<Problem> {
  const said: Partial<ProblemDocument> = await response.json().catch(() => ({}));
  const code = said.code ?? 'http_' + response.status;
  const retry = Number(response.headers.get('Retry-After'));
  const detail = said.detail ?? `The answer was ${response.status} ${response.statusText}`.trim() + ', without an explanation.';
  return new Problem({status: response.status, code, detail, hint: said.hint ?? HINTS[code]}, retry > 0 ? retry : null);
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';
export const toProblem = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem({status: 0, code: 'failed', detail: error instanceof Error ? error.message : String(error)});
