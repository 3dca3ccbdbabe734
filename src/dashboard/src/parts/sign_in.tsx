/** In place of a page while the server wants a token. */
import {useState} from 'preact/hooks';

import {locked, send, token} from '../data/api';
import {toProblem, type Problem} from '../data/problem';

export function SignIn({why}: {why: string}) {
  const [text, setText] = useState('');
  const [problem, setProblem] = useState<Problem | null>(null);
  const [asking, setAsking] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setAsking(true);
    setProblem(null);
    try {
      await send('/v1/pipeline', undefined, {headers: {Authorization: 'Bearer ' + text}});
      token.value = text;
      locked.value = null;
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setAsking(false);
    }
  };
  return (
    <section class="card sign-in">
      <h2>Sign in</h2>
      <p>{why} Give it a token that may <code>read</code>: one of <code>serve.auth.tokens</code> in the pipeline's file, or a JWT of its issuer. It stays in this tab and is forgotten with it.</p>
      <form onSubmit={submit}>
        <label class="field wide"><span>Token</span><input type="password" value={text} required autocomplete="current-password" autofocus onInput={event => setText(event.currentTarget.value)} /></label>
        <button class="primary" disabled={asking}>Sign in</button>
      </form>
      {problem && <p class="bad" role="alert">{problem.status === 0 ? problem.message : `This token does not open it: ${problem.message}`}</p>}
    </section>
  );
}
