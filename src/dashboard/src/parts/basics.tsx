/** Small parts that every page has. */
import type {ComponentChildren} from 'preact';
import {useState} from 'preact/hooks';

import type {Problem} from '../data/problem';
import {useWatchedClock} from './clock';
import {duration, secondsSince} from '../format';

export function Card({title, side, children, class: name = ''}: {title?: ComponentChildren; side?: ComponentChildren; children: ComponentChildren; class?: string}) {
  return (
    <section class={`card ${name}`}>
      {(title || side) && <div class="head">{title && <h2>{title}</h2>}<span class="grow" />{side}</div>}
      {children}
    </section>
  );
}

/** What went wrong, and the way out. `since`: it has failed for so long, and what is shown is from before. */
export function Trouble({problem, since}: {problem: Problem | null; since?: number | null}) {
  useWatchedClock(problem !== null && since != null);
  if (!problem) return null;
  return (
    <div class="card notice" role="alert">
      <b>{problem.message}</b>
      {problem.status > 0 && <span class="code"> {problem.status} {problem.code}</span>}
      {problem.hint && <div>{problem.hint}</div>}
      {since != null && secondsSince(since) > 2 && <div>What is shown is from {duration(secondsSince(since))} ago.</div>}
    </div>
  );
}

export const Empty = ({children}: {children: ComponentChildren}) => <p class="empty">{children}</p>;
export const Loading = () => <p class="empty" role="status">Loading …</p>;

export function Copy({text, label = 'Copy'}: {text: string; label?: string}) {
  const [said, say] = useState('');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied');
    } catch {
      say('Select it and copy by hand');  // No clipboard without TLS but on this machine.
    }
    setTimeout(() => say(''), 2000);
  };
  return <button type="button" class="quiet" onClick={copy}><span aria-live="polite">{said || label}</span></button>;
}

export const Code = ({text, label}: {text: string; label: string}) => (
  <div class="codebox"><div class="codehead"><span>{label}</span><Copy text={text} /></div><pre tabIndex={0} aria-label={label}>{text}</pre></div>
);

export function Choice<T extends string>({label, value, options, onChange}: {label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void}) {
  return (
    <label class="field"><span>{label}</span>
      <select value={value} onChange={event => onChange(event.currentTarget.value as T)}>
        {options.map(([of, text]) => <option key={of} value={of}>{text}</option>)}
      </select>
    </label>
  );
}

/** One of a few, side by side. */
export function Segments<T extends string>({label, value, options, onChange}: {label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void}) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([of, text]) => <button type="button" key={of} aria-pressed={of === value} onClick={() => onChange(of)}>{text}</button>)}
    </div>
  );
}

/** Any of a few; the order in which they are chosen is kept. */
export function Chips({label, values, options, onChange}: {label: string; values: string[]; options: readonly string[]; onChange: (values: string[]) => void}) {
  return (
    <div class="field" role="group" aria-label={label}><span>{label}</span>
      <div class="chips">
        {options.map(option => (
          <button type="button" key={option} aria-pressed={values.includes(option)}
            onClick={() => onChange(values.includes(option) ? values.filter(v => v !== option) : [...values, option])}>{option}</button>
        ))}
      </div>
    </div>
  );
}

/** A text that counts once it is finished: by Enter, or by leaving it. */
export function TextField({label, value, onChange, placeholder, wide = false}: {label: string; value: string; onChange: (value: string) => void; placeholder?: string; wide?: boolean}) {
  // What is being typed stays while the page is drawn anew.
  const [draft, setDraft] = useState<string | null>(null);
  return (
    <label class={wide ? 'field wide' : 'field'}><span>{label}</span>
      <input type="text" value={draft ?? value} placeholder={placeholder} spellcheck={false} autocomplete="off" onInput={event => setDraft(event.currentTarget.value)}
        onChange={event => (setDraft(null), onChange(event.currentTarget.value))} onBlur={() => setDraft(null)} />
    </label>
  );
}

const local = (time: Date): string => new Date(time.getTime() - 60_000 * time.getTimezoneOffset()).toISOString().slice(0, 19);

/** A moment in RFC 3339, shown and chosen in local time. Empty: none. */
export function TimeField({label, value, onChange}: {label: string; value: string; onChange: (value: string) => void}) {
  const time = new Date(value);
  return (
    <label class="field"><span>{label}</span>
      <input type="datetime-local" step={1} value={isNaN(time.getTime()) ? '' : local(time)}
        onChange={event => onChange(event.currentTarget.value && new Date(event.currentTarget.value).toISOString().replace('.000', ''))} />
    </label>
  );
}
