import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** What the load test's publisher says at its end. */
export interface LoadReport {
  readonly connected: boolean;
  readonly frames_sent: number;
  readonly keyframes_sent: number;
  readonly plis_received: number;
  readonly send_errors: number;
}

/** A publisher of the load test. */
export interface LoadPublisher {
  /** Ends it, and resolves with its report. */
  stop(): Promise<LoadReport>;
}

/** Publishes the load test's scene to a WHIP endpoint, with further options of its `whip` command. */
export function publishLoad(url: string, options: readonly string[]): LoadPublisher {
  const flags = ['whip', '--json', '--duration', '10m', '--url', url, ...options];
  const child = spawn(loadtestPath(), flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const printed = text(child.stdout);
  const exited = once(child, 'exit');
  return {
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = await exited;
      if (code !== 0) throw new Error(`the load test's publisher ended with ${code}`);
      return JSON.parse(await printed) as LoadReport;
    },
  };
}

/** The path of the load test; throws when there is none, because a missing publisher must not pass for a pass. */
function loadtestPath(): string {
  const path =
    process.env['NEARCAST_LOADTEST_BIN'] ??
    fileURLToPath(new URL('../../../../target/debug/nearcast-loadtest', import.meta.url));
  if (!existsSync(path))
    throw new Error(`there is no load test at ${path}: run \`cargo build -p nearcast-loadtest\``);
  return path;
}
