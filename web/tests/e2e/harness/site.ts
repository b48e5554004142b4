import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** The test pages, on an origin of their own. */
export interface Site {
  readonly url: string;
  stop(): Promise<void>;
}

const pages = (name: string): string => fileURLToPath(new URL(`../../pages/${name}`, import.meta.url));

/** Bundles the test pages and serves them on a free port of the loopback. */
export async function startSite(): Promise<Site> {
  const html = await readFile(pages('lab.html'));
  const bundle = await build({
    entryPoints: [pages('lab.ts')],
    bundle: true,
    format: 'esm',
    target: 'es2022',
    sourcemap: 'inline',
    write: false,
  });
  const script = bundle.outputFiles[0]?.contents;
  if (!script) throw new Error('esbuild gave no bundle');
  const server = createServer((request, response) => {
    const isScript = request.url === '/lab.js';
    response.writeHead(200, { 'Content-Type': isScript ? 'text/javascript' : 'text/html' });
    response.end(isScript ? script : html);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the test site has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
