/**
 * Where in the dashboard we are: all of it is in the URL's fragment, as #/explore/clicks_1m?from=-15m. A fragment never
 * leaves the browser, so no statement of SQL and no filter ends in a server's log, and the server needs one page.
 */
import {Store, useStore} from './store';

export interface Place {
  path: string[];
  params: Record<string, string>;
}
/** undefined and the empty text: not in the URL. */
export type Params = Record<string, string | undefined>;

export function parse(fragment: string): Place {
  const [path, query] = fragment.replace(/^#?\/?/, '').split(/\?(.*)/s);
  const decode = (text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;  // Typed by hand: a lone %.
    }
  };
  return {path: path!.split('/').filter(Boolean).map(decode), params: Object.fromEntries(new URLSearchParams(query ?? ''))};
}

export function href(path: string[], params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) query.set(name, value);
  const text = query.toString();
  return '#/' + path.map(encodeURIComponent).join('/') + (text ? '?' + text : '');
}

const place = new Store<Place>(parse(location.hash));
addEventListener('hashchange', () => (place.value = parse(location.hash)));

export const usePlace = (): Place => useStore(place);

/** Replaces: what somebody only tries out is not to be gone through by the back button. */
export function go(path: string[], params: Params = {}, how: 'push' | 'replace' = 'push') {
  const to = href(path, params);
  if (how === 'push') history.pushState(null, '', to);
  else history.replaceState(null, '', to);
  place.value = parse(to);
}

export function change(params: Params) {
  go(place.value.path, {...place.value.params, ...params}, 'replace');
}
