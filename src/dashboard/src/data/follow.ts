/** Server-sent events over fetch, which can send a token; EventSource cannot. */
import {parseExactly, send} from './api';
import {isAbort, Problem, toProblem} from './problem';

const PAUSE_MAX_MS = 8000;

export interface Follower {
  event(name: string, data: unknown): void;
  /** It is cut off, and tried again after a while; null: it goes on. */
  trouble(problem: Problem | null): void;
}

/**
 * Until `signal`, or until the server says that the question is wrong, or that it has not what it takes. Comes back by itself after the last event that it
 * has, and while nobody sees the tab it is not there: a browser has six connections to a server for all its tabs.
 */
export async function follow(path: string, follower: Follower, signal: AbortSignal): Promise<void> {
  let last = '';
  for (let pause = 500; !signal.aborted; pause = Math.min(2 * pause, PAUSE_MAX_MS)) {
    await visible(signal);
    if (signal.aborted) return;
    const hide = new AbortController();
    const onHide = () => document.hidden && hide.abort();
    document.addEventListener('visibilitychange', onHide);
    try {
      const response = await send(path, AbortSignal.any([signal, hide.signal]), {headers: last ? {'Last-Event-ID': last} : {}});
      for await (const event of eventsOf(response.body!)) {
        if (event.id) last = event.id;
        pause = 250;
        follower.trouble(null);
        follower.event(event.name, parseExactly(event.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!hide.signal.aborted && !isAbort(error)) {
        const problem = toProblem(error);
        follower.trouble(problem);
        if ((problem.status >= 400 && problem.status < 500 && problem.status !== 429) || problem.status === 501) return;
      }
    } finally {
      document.removeEventListener('visibilitychange', onHide);
    }
    await sleep(pause, signal);
  }
}

interface ServerEvent {
  name: string;
  id: string;
  data: string;
}

async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (let text = ''; ; ) {
    const {done, value} = await reader.read();
    if (done) return;
    const parts = (text + decoder.decode(value, {stream: true})).split('\n\n');
    text = parts.pop()!;
    for (const part of parts) {
      const fields: Record<string, string> = {};
      for (const line of part.split('\n')) {
        const at = line.indexOf(': ');
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.event) yield {name: fields.event, id: fields.id ?? '', data: fields.data ?? 'null'};
    }
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

function visible(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise(resolve => {
    const stop = new AbortController();
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      stop.abort();
      resolve();
    };
    document.addEventListener('visibilitychange', look, {signal: stop.signal});
    signal.addEventListener('abort', look, {signal: stop.signal});
  });
}
