import { fileURLToPath } from 'node:url';
import type { ViteUserConfig } from 'vitest/config';

const page = (name: string): string => fileURLToPath(new URL(`pages/${name}.html`, import.meta.url));

/** The server answers these paths with one page each; the development server does the same. */
const routes: readonly (readonly [RegExp, string])[] = [
  [/^\/studio\/[\w-]+\/?(\?.*)?$/, '/studio.html'],
  [/^\/r\/[\w-]+\/?(\?.*)?$/, '/viewer.html'],
];

const server = process.env['NEARCAST_URL'] ?? 'http://127.0.0.1:8080';

const config: ViteUserConfig = {
  root: 'pages',
  publicDir: false,
  plugins: [
    {
      name: 'nearcast-routes',
      configureServer(dev) {
        dev.middlewares.use((request, _response, next) => {
          const wantsJson = request.headers.accept?.includes('application/json') === true;
          const route = wantsJson ? undefined : routes.find(([path]) => path.test(request.url ?? ''));
          if (route) request.url = route[1];
          next();
        });
      },
    },
  ],
  server: {
    proxy: {
      '/api': server,
      '/whip': server,
      '/whep': server,
      '/r': {
        target: server,
        bypass: (request) =>
          request.headers.accept?.includes('application/json') === true ? undefined : request.url,
      },
    },
  },
  build: {
    outDir: '../dist',
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy is `default-src 'self'`: nothing may be inlined, not even as a data URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: [page('index'), page('studio'), page('viewer')] },
  },
  test: { root: '.', include: ['tests/unit/**/*.test.ts'], environment: 'node' },
};

export default config;
