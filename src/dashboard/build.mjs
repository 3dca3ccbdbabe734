// node build.mjs OUT: writes the dashboard's document, as the build embeds it.
import fs from 'node:fs';

import {bundle} from './bundle.mjs';

fs.writeFileSync(process.argv[2], await bundle());
