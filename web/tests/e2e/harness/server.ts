import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A running server of ours. */
export interface Server {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** `127.0.0.1:PORT` of media. */
  readonly udp: string;
  readonly pid: number;
  /** Everything it wrote so far. */
  log(): string;
  /** CPU time used so far, seconds. */
  cpuSeconds(): Promise<number>;
  /** Ends it: by SIGTERM it must end by itself within 6 s, by SIGKILL it has no choice. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

const readyWithinMs = 20_000;
const exitWithinMs = 6000;
const clockTicksPerSecond = 100;

/** The path of the binary under test; throws when there is none, because a missing server must not pass for a pass. */
export function binaryPath(): string {
  const path =
    process.env['NEARCAST_BIN'] ??
    fileURLToPath(new URL('../../../../target/debug/nearcast', import.meta.url));
  if (!existsSync(path))
    throw new Error(`there is no server at ${path}: run \`cargo build\` or set NEARCAST_BIN`);
  return path;
}

/** Where a server listens. */
export interface Bind {
  /** `HOST:PORT`; a free port of the loopback when left out. */
  readonly http?: string;
  /** `IP:PORT` to name in answers instead of the media's own address. */
  readonly advertise?: string;
}

/** Starts the real server, by default on free ports of the loopback. */
export async function startServer({ http = '127.0.0.1:0', advertise }: Bind = {}): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'nearcast-e2e-'));
  const readyFile = join(folder, 'ready.json');
  const addresses = ['--http', http, '--udp', '127.0.0.1:0'];
  if (advertise) addresses.push('--advertise', advertise);
  const flags = ['serve', ...addresses, '--ready-file', readyFile, '--data-dir', folder];
  const child = spawn(binaryPath(), flags, { stdio: ['ignore', 'pipe', 'pipe'], cwd: folder });
  let log = '';
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const bound = await ready(child, readyFile, () => log);
  const { pid } = child;
  if (pid === undefined) throw new Error('the server has no process id');
  return {
    url: `http://${bound.http}`,
    udp: bound.udp,
    pid,
    log: () => log,
    cpuSeconds: () => cpuSeconds(pid),
    stop: async (signal = 'SIGTERM') => {
      await end(child, signal, () => log);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function ready(child: ChildProcess, file: string, log: () => string): Promise<Bound> {
  const deadline = Date.now() + readyWithinMs;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${log()}`);
    const content = await readFile(file, 'utf8').catch(() => '');
    const bound = boundAddresses(content);
    if (bound) return bound;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGKILL');
  throw new Error(`the server was not ready within ${readyWithinMs} ms:\n${log()}`);
}

interface Bound {
  readonly http: string;
  readonly udp: string;
}

/** The addresses really bound, as the ready file says; null while it is not written. */
function boundAddresses(content: string): Bound | null {
  try {
    const parsed: unknown = JSON.parse(content);
    if (typeof parsed !== 'object' || parsed === null || !('http' in parsed && 'udp' in parsed)) return null;
    const [http, udp] = [first(parsed.http), first(parsed.udp)];
    return http && udp ? { http, udp } : null;
  } catch {
    return null;
  }
}

function first(list: unknown): string | null {
  const address: unknown = Array.isArray(list) ? list[0] : list;
  return typeof address === 'string' ? address : null;
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL', log: () => string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) {
    throw new Error(`the server had ended by itself (${child.exitCode ?? child.signalCode}):\n${log()}`);
  }
  const exited = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), exitWithinMs);
  await exited;
  clearTimeout(timer);
  if (child.signalCode === 'SIGKILL' && signal !== 'SIGKILL')
    throw new Error(`the server did not end within ${exitWithinMs} ms:\n${log()}`);
}

async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // Fields 14 and 15, counted after the parenthesised name (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond;
}
