/** Requests to the API, by the types of its contract. */
import type {components, paths} from 'openapi';

import {Store} from '../store';
import {problemOf, unreachable} from './problem';

export type Schemas = components['schemas'];
type Gets = {[P in keyof paths]: paths[P] extends {get: unknown} ? P : never}[keyof paths];
type Posts = {[P in keyof paths]: paths[P] extends {post: {responses: unknown}} ? P : never}[keyof paths];
type Ok<O> = O extends {responses: {200: {content: {'application/json': infer T}}}} ? T : never;
type In<O, W extends string> = O extends {parameters: {[K in W]: infer T}} ? T : O extends {parameters: {[K in W]?: infer T}} ? T : never;
type Known<T> = [NonNullable<T>] extends [never] ? unknown : NonNullable<T>;
type Arguments<O> = Known<In<O, 'path'>> & Partial<Known<In<O, 'query'>>>;

const KEPT_AS = 'millrace-token';
/** It stays in the tab. Empty: none. */
export const token = new Store(sessionStorage.getItem(KEPT_AS) ?? '');
token.listen(() => sessionStorage.setItem(KEPT_AS, token.value));
/** Why the server wants another token; null: it does not. */
export const locked = new Store<string | null>(null);

const TIMEOUT_MS = 60_000;  // A server that has gone without closing.

/** Throws a Problem, or the AbortError of `signal`. With the token of this tab, if `init` has none. */
export async function send(path: string, signal?: AbortSignal, init: RequestInit = {}): Promise<Response> {
  const used = token.value;
  const headers = new Headers(init.headers);
  const another = headers.has('Authorization');
  if (used && !another) headers.set('Authorization', 'Bearer ' + used);
  let response: Response;
  try {
    response = await fetch(path, {...init, headers, signal});
  } catch {
    signal?.throwIfAborted();
    throw unreachable();
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  signal?.throwIfAborted();
  if (problem.status === 401 && used === token.value && !another) locked.value = used ? problem.message : 'This server wants to know who asks.';
  throw problem;
}

/**
 * JSON, where a number that JavaScript would round (a long decimal, an integer above 2^53) stays the text that it is.
 * Browsers that do not show a reviver the text of a number round it.
 */
export function parseExactly(text: string): unknown {
  return JSON.parse(text, function (this: unknown, _name: string, value: unknown, context?: {source?: string}) {
    if (typeof value !== 'number' || context?.source === undefined) return value;
    const digits = context.source.replace(/[eE].*$/, '').replace(/\D/g, '').replace(/^0+/, '').length;
    return digits > 15 && String(value) !== context.source ? context.source : value;
  } as (name: string, value: unknown) => unknown);
}

// Here rows are, whose numbers may have any number of digits.
const ANSWERS = new Set<string>(['/v1/aggregates/{aggregate}', '/v1/tables/{table}/rows', '/v1/sql']);

async function read<T>(path: string, exactly: boolean, signal?: AbortSignal, init?: RequestInit): Promise<T> {
  const patience = AbortSignal.timeout(TIMEOUT_MS);
  const response = await send(path, signal ? AbortSignal.any([signal, patience]) : patience, init);
  try {
    const text = await response.text();
    return (exactly ? parseExactly(text) : JSON.parse(text)) as T;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof TypeError) throw unreachable();  // Cut off in the middle.
    throw error;
  }
}

/** '/v1/tables/{table}', {table: 'a b', limit: 2} -> "/v1/tables/a%20b?limit=2" */
export function target(path: string, values: Record<string, unknown> = {}): string {
  const rest = new Map(Object.entries(values).filter(([, value]) => value !== undefined));
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(rest.get(name));
    rest.delete(name);
    return encodeURIComponent(value);
  });
  // As people write them: the API reads , : and = as they are.
  const query = [...rest].map(([name, value]) => `${name}=${encodeURIComponent(String(value)).replace(/%2C/g, ',').replace(/%3A/g, ':').replace(/%20/g, '+').replace(/'/g, '%27')}`);
  return filled + (query.length ? '?' + query.join('&') : '');
}

export const get = <P extends Gets>(path: P, values: Arguments<paths[P]['get']>, signal?: AbortSignal): Promise<Ok<paths[P]['get']>> =>
  read(target(path, values as Record<string, unknown>), ANSWERS.has(path), signal);

export const post = <P extends Posts>(path: P, body: object, signal?: AbortSignal): Promise<Ok<paths[P]['post']>> =>
  read(path, ANSWERS.has(path), signal, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
