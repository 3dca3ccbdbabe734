/** The editor of SQL: CodeMirror. It is in the page from the start, but begins to run only when somebody comes to SQL. */
import {autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap} from '@codemirror/autocomplete';
import {defaultKeymap, history, historyKeymap} from '@codemirror/commands';
import {PostgreSQL, sql, type SQLNamespace} from '@codemirror/lang-sql';
import {bracketMatching, HighlightStyle, syntaxHighlighting} from '@codemirror/language';
import {EditorState, Compartment} from '@codemirror/state';
import {EditorView, keymap, lineNumbers, placeholder, drawSelection} from '@codemirror/view';
import {tags} from '@lezer/highlight';

export interface Editor {
  text(): string;
  setText(text: string): void;
  /** What completion knows: tables and their columns. */
  setNames(names: SQLNamespace): void;
  focus(): void;
  destroy(): void;
}

const colours = HighlightStyle.define([
  {tag: tags.keyword, color: 'var(--accent)', fontWeight: '600'},
  {tag: [tags.string, tags.special(tags.string)], color: 'var(--good)'},
  {tag: [tags.number, tags.bool, tags.null], color: 'var(--s1)'},
  {tag: tags.comment, color: 'var(--soft)', fontStyle: 'italic'},
  {tag: tags.typeName, color: 'var(--s2)'},
]);
const theme = EditorView.theme({
  '&': {font: '14px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace', color: 'var(--text)', background: 'var(--page)'},
  '.cm-scroller': {fontFamily: 'inherit', minHeight: '120px', maxHeight: '45vh'},
  '.cm-content': {caretColor: 'var(--text)'},
  '.cm-cursor': {borderLeftColor: 'var(--text)'},
  '&.cm-focused': {outline: '2px solid var(--accent)', outlineOffset: '-2px'},
  '.cm-gutters': {background: 'transparent', color: 'var(--soft)', border: '0'},
  '.cm-placeholder': {color: 'var(--soft)'},
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {background: 'var(--accent-soft)'},
  '.cm-tooltip': {background: 'var(--card)', color: 'var(--text)', border: '1px solid var(--line)'},
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': {background: 'var(--accent)', color: 'var(--card)'},
});

/**
 * In a shadow tree of `box`: there CodeMirror's styles are sheets that are adopted, in the document they would be
 * <style> elements, which the page's policy does not let in.
 */
export function makeEditor(box: HTMLElement, text: string, on: {run(): void}): Editor {
  const root = box.shadowRoot ?? box.attachShadow({mode: 'open'});
  const language = new Compartment();
  const dialect = (schema: SQLNamespace) => sql({dialect: PostgreSQL, schema, upperCaseKeywords: true});
  const run = () => (on.run(), true);
  const view = new EditorView({
    parent: root, root,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(), history(), drawSelection(), bracketMatching(), closeBrackets(), autocompletion(), language.of(dialect({})), syntaxHighlighting(colours), theme,
        keymap.of([{key: 'Mod-Enter', run}, ...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.lineWrapping, placeholder('SELECT … FROM …'),
        EditorView.contentAttributes.of({'aria-label': 'SQL statement. Escape, then Tab leaves it.'}),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    setText: to => view.dispatch({changes: {from: 0, to: view.state.doc.length, insert: to}}),
    setNames: names => view.dispatch({effects: language.reconfigure(dialect(names))}),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
