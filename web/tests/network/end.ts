import { print } from './table.ts';

/** Prints the table of this run. */
// biome-ignore lint/style/noDefaultExport: Playwright calls what the file exports by default
export default function end(): void {
  print();
}
