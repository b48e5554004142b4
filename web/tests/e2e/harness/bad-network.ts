import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Server, startServer } from './server.ts';

/** Counters of one direction, as the emulator tells them. */
export interface Way {
  readonly received: number;
  readonly delivered: number;
  readonly delivered_bytes: number;
  readonly lost: number;
  /** How long the queue before the bottleneck takes to empty. */
  readonly queue_ms: number;
}

/** The network emulator between a server and whoever takes the address from its answers. */
export interface BadNetwork {
  /** `127.0.0.1:PORT`, to be advertised by the server. */
  readonly address: string;
  /** Changes it by one line, such as `down loss=2%`. */
  say(line: string): Promise<void>;
  stats(): Promise<{ readonly down: Way; readonly up: Way; readonly remotes: number }>;
  stop(): Promise<void>;
}

/** Starts a server that nobody reaches but through a bad network: bad in one way down, and up as told or alike. */
export async function startBehind(spec: string, up = spec): Promise<{ server: Server; network: BadNetwork }> {
  const network = await startNetwork(spec, up);
  const server = await startServer({ advertise: network.address });
  await network.say(`to ${server.udp}`);
  return { server, network };
}

async function startNetwork(spec: string, up: string): Promise<BadNetwork> {
  const flags = ['impair', '--json', '--listen', '127.0.0.1:0', '--down', spec, '--up', up];
  const child = spawn(emulatorPath(), flags, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> => {
    const { value, done } = await answers.next();
    const answer: unknown = done ? null : JSON.parse(value);
    if (typeof answer !== 'object' || answer === null) throw new Error('the network emulator ended');
    const facts = { ...answer } as Record<string, unknown>;
    if (facts['event'] === 'error') throw new Error(String(facts['message']));
    return facts;
  };
  const ask = (line: string): Promise<Record<string, unknown>> => {
    child.stdin.write(`${line}\n`);
    return next();
  };
  const ready = await next();
  return {
    address: String(ready['listen']),
    say: async (line) => void (await ask(line)),
    stats: async () => {
      const { down, up, remotes } = await ask('stats');
      return { down: down as Way, up: up as Way, remotes: Number(remotes) };
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The path of the emulator; throws when there is none, because a missing bad network must not pass for a good one. */
function emulatorPath(): string {
  const path =
    process.env['NEARCAST_LOADTEST_BIN'] ??
    fileURLToPath(new URL('../../../../target/debug/nearcast-loadtest', import.meta.url));
  if (!existsSync(path))
    throw new Error(`there is no network emulator at ${path}: run \`cargo build -p nearcast-loadtest\``);
  return path;
}
