/** How many requests the API answers, by its own counters. */
import {useRef} from 'preact/hooks';

import {send} from './api';
import {Problem} from './problem';
import {usePolled} from './polled';

interface Seen {
  at: number;
  requests: number;
}

/** The last two readings; none where /metrics has a door of its own. */
export function useRequests(): Seen[] {
  const seen = useRef<Seen[]>([]);
  const {value} = usePolled('/metrics', readRequests, 5000);
  if (value && value !== seen.current.at(-1)) seen.current = [...seen.current.slice(-1), value];
  return seen.current;
}

export function requestsPerSecond([before, now]: Seen[]): number | null {
  return before && now && now.requests >= before.requests ? (1000 * (now.requests - before.requests)) / (now.at - before.at) : null;
}

async function readRequests(signal: AbortSignal): Promise<Seen | null> {
  try {
    const text = await (await send('/metrics', signal)).text();
    let requests = 0;
    for (const [, value] of text.matchAll(/^millrace_http_requests_total\{[^}]*\} (\S+)$/gm)) requests += Number(value);
    return {at: Date.now(), requests};
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}
