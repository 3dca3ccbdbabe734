// node develop.mjs [http://127.0.0.1:8080] [8081]: the dashboard from its sources, built anew whenever it is loaded, over
// the API of a Millrace that runs.
import http from 'node:http';

import {bundle} from './bundle.mjs';

const api = new URL(process.argv[2] ?? 'http://127.0.0.1:8080');
const port = Number(process.argv[3] ?? 8081);

http.createServer(async (request, response) => {
  if (request.url === '/' || request.url === '/cost') {
    try {
      response.writeHead(200, {'Content-Type': 'text/html; charset=utf-8'}).end(await bundle({sourcemap: 'inline', minify: false}));
    } catch (error) {
      response.writeHead(500, {'Content-Type': 'text/plain'}).end(String(error.message));
    }
    return;
  }
  const passed = http.request(new URL(request.url, api), {method: request.method, headers: request.headers}, answer => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  passed.on('error', () => response.destroy());
  response.on('close', () => passed.destroy());
  request.pipe(passed);
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/ with the API of ${api.origin}`));
