import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, figure } from '../e2e/harness/fixtures.ts';

/** A figure's unit, and what it must reach; without a bound it is only told. */
export interface Bound {
  readonly unit: string;
  readonly atMost?: number;
  readonly atLeast?: number;
}

interface Row {
  readonly path: string;
  readonly name: string;
  readonly value: number;
  readonly bound: Bound;
}

/** The rows of one run, told from process to process: a failing test ends its worker. */
const file = join(tmpdir(), 'nearcast-bench-network.jsonl');

/** Notes one figure, and fails the test at its end when it misses its bound. */
export function row(path: string, name: string, value: number, bound: Bound): void {
  appendFileSync(file, `${JSON.stringify({ path, name, value, bound })}\n`);
  figure(path, `${name} ${text(value, bound.unit)}`);
  if (bound.atMost !== undefined) expect.soft(value, `${path}, ${name}`).toBeLessThanOrEqual(bound.atMost);
  if (bound.atLeast !== undefined)
    expect.soft(value, `${path}, ${name}`).toBeGreaterThanOrEqual(bound.atLeast);
}

/** Forgets the rows of an earlier run. */
export function clear(): void {
  rmSync(file, { force: true });
}

/** Prints everything that was noted, with the command that measures it again. */
export function print(): void {
  // Not every test notes some.
  if (!existsSync(file)) return;
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  const rows = lines.map((line) => JSON.parse(line) as Row);
  const cells = rows.map(({ path, name, value, bound }) => [
    path,
    name,
    text(value, bound.unit),
    wish(bound),
  ]);
  const titled = [['path', 'figure', 'measured', 'must reach'], ...cells];
  const width = (column: number): number => Math.max(...titled.map((row) => row[column]?.length ?? 0));
  for (const row of titled) console.log(row.map((cell, column) => cell.padEnd(width(column))).join('  '));
  console.log('\nrepeat: make bench-network');
}

function wish({ unit, atMost, atLeast }: Bound): string {
  if (atMost !== undefined) return `≤ ${text(atMost, unit)}`;
  return atLeast === undefined ? '' : `≥ ${text(atLeast, unit)}`;
}

function text(value: number, unit: string): string {
  // JSON knows no infinity.
  if (value === null || !Number.isFinite(value)) return 'never';
  return `${value < 10 ? Number(value.toFixed(2)) : Math.round(value)} ${unit}`.trim();
}
