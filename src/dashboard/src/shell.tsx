/** What is around every page: where one can go, how the pipeline is, and who asks. */
import type {ComponentType} from 'preact';
import {useEffect, useErrorBoundary, useRef, useState} from 'preact/hooks';

import {locked, token} from './data/api';
import {diagnose} from './data/health';
import {PipelineContext, useWatched, type Watched} from './data/pipeline';
import {bytes, duration, secondsSince} from './format';
import {CostPage} from './pages/cost';
import {ExplorePage} from './pages/explore';
import {LettersPage} from './pages/letters';
import {OverviewPage} from './pages/overview';
import {SourcePage} from './pages/source';
import {SqlPage} from './pages/sql';
import {TablesPage} from './pages/tables';
import {Card} from './parts/basics';
import {SignIn} from './parts/sign_in';
import {go, href, usePlace} from './router';
import {useStore} from './store';

interface Page {
  path: string;
  name: string;
  view: ComponentType;
}
const PAGES: Page[] = [
  {path: '', name: 'Overview', view: OverviewPage},
  {path: 'explore', name: 'Explore', view: ExplorePage},
  {path: 'sql', name: 'SQL', view: SqlPage},
  {path: 'tables', name: 'Tables', view: TablesPage},
  {path: 'source', name: 'Source', view: SourcePage},
  {path: 'letters', name: 'Dead letters', view: LettersPage},
  {path: 'cost', name: 'Cost', view: CostPage},
];

export function Shell() {
  const why = useStore(locked);
  const place = usePlace();
  const watched = useWatched();
  const main = useRef<HTMLElement>(null);
  const [keys, showKeys] = useState(false);
  const page = PAGES.find(p => p.path === (place.path[0] ?? ''));
  const [broken, mend] = useErrorBoundary();

  useEffect(() => {
    document.title = [page?.name ?? 'Nothing here', watched.value?.pipeline, 'Millrace'].filter(Boolean).join(' · ');
  }, [page, watched.value?.pipeline]);
  useEffect(() => mend(), [page]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const on = event.composedPath()[0];
      if (event.ctrlKey || event.metaKey || event.altKey || (on instanceof HTMLElement && (on.isContentEditable || on.matches('input, select, textarea')))) return;
      const to = PAGES[Number(event.key) - 1];
      if (to) go(to.path ? [to.path] : []);
      else if (event.key === '?') showKeys(shown => !shown);
      else if (event.key === 'Escape') showKeys(false);
      else if (event.key === '/') main.current?.querySelector<HTMLElement>('select, input, .cm-content')?.focus();
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);

  const View = page?.view;
  return (
    <PipelineContext.Provider value={watched}>
      <a class="skip" href="#main" onClick={event => (event.preventDefault(), main.current?.focus())}>To the page</a>
      <header class="top">
        <a class="brand" href="#/"><Waves />Millrace <span>{watched.value?.pipeline}</span></a>
        <nav aria-label="Pages">
          {PAGES.map((p, at) => <a key={p.path} href={href(p.path ? [p.path] : [])} aria-current={p === page ? 'page' : undefined} title={`Key ${at + 1}`}>{p.name}</a>)}
        </nav>
        <State watched={watched} locked={why !== null} />
      </header>
      <main ref={main} id="main" tabIndex={-1}>
        <h1 class="sr">{page?.name ?? 'Nothing here'}</h1>
        {keys && <Keys />}
        {why === null && <Gone watched={watched} />}
        {why !== null ? <SignIn why={why} />
          : broken ? <div class="card notice" role="alert"><b>This page has failed: {String(broken)}</b><div>Go to another one, or load it again.</div></div>
          : View ? <View /> : <Card><p class="empty">There is no page here. <a href="#/">The overview</a> is one.</p></Card>}
      </main>
      <footer>
        <a href="/openapi.json">OpenAPI</a> · <a href="/metrics">metrics</a> · <button type="button" class="link" onClick={() => showKeys(shown => !shown)}>keys</button>
        {token.value && <> · <button type="button" class="link" onClick={() => { token.value = ''; locked.value = 'You have signed out.'; }}>sign out</button></>}
        <span class="grow" />
        {watched.value && <span>version {watched.value.version} · up {duration(watched.value.uptime_seconds)} · memory {bytes(watched.value.memory.used)} of {bytes(watched.value.memory.budget)}</span>}
      </footer>
    </PipelineContext.Provider>
  );
}

const Waves = () => (
  <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 5c3-3 4 3 7 0s4 3 7 0M1 11c3-3 4 3 7 0s4 3 7 0" fill="none" stroke="var(--accent)" stroke-width="1.6" stroke-linecap="round" /></svg>
);

function State({watched, locked}: {watched: Watched; locked: boolean}) {
  const {value, problem, samples} = watched;
  const findings = diagnose(samples);
  const text = locked ? 'locked' : problem ? (problem.status === 0 ? 'no answer' : 'trouble') : value?.state ?? 'connecting';
  const bad = locked || problem !== null || value?.state === 'failed' || findings.some(f => f.level === 'bad');
  return (
    <a class={`pill ${bad ? 'bad' : findings.length ? 'warn' : value ? 'good' : ''}`} href="#/">
      <i /><span role="status">{text}{!bad && findings.length > 0 && `, ${findings.length} to see`}</span>
    </a>
  );
}

/** The server, when it is not there. */
function Gone({watched: {problem, failingSince, value}}: {watched: Watched}) {
  if (!problem || problem.status === 401) return null;
  const since = failingSince === null ? 0 : secondsSince(failingSince);
  return (
    <div class="card notice" role="alert">
      <b>{problem.status === 0 ? `The server has not answered for ${duration(since)}.` : problem.message}</b>
      <div>{problem.status === 0 ? (value ? 'What you see is from before. ' : '') + 'It is asked again until it is back: you need not do anything.' : problem.hint}</div>
    </div>
  );
}

const Keys = () => (
  <Card title="Keys">
    <dl class="keys">
      {PAGES.map((page, at) => <div key={page.path}><dt><kbd>{at + 1}</kbd></dt><dd>{page.name}</dd></div>)}
      <div><dt><kbd>/</kbd></dt><dd>to the first field of a page</dd></div>
      <div><dt><kbd>Ctrl</kbd> <kbd>Enter</kbd></dt><dd>run the statement, in SQL</dd></div>
      <div><dt><kbd>?</kbd></dt><dd>these keys</dd></div>
    </dl>
  </Card>
);
