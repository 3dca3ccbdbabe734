import 'uplot/dist/uPlot.min.css';
import './style.css';

import {render} from 'preact';

import {go} from './router';
import {Shell} from './shell';

// A page of its own it was once, and has links to it.
if (location.pathname === '/cost') {
  history.replaceState(null, '', '/');
  go(['cost'], {}, 'replace');
}
const app = document.getElementById('app')!;
app.replaceChildren();  // What was there until now.
render(<Shell />, app);
