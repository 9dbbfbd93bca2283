// Records that a filter makes, and failures it reports.

import { Area } from "./msgpack";

const built = new Area();
let count: u32 = 0;

export const emitted = new Area();
export let emittedCount: u32 = 0;
export let failure: string | null = null;

/**
 * A record that was not there before. One is made at a time; `emit` puts it before the record that is looked at, or,
 * from `onFlush`, at the end.
 */
export class Entry {
  constructor(private seconds: u32, private nanoseconds: u32 = 0) {
    built.end = built.start;
    count = 0;
  }

  /** Give it a field, which takes what `Record.set` takes. */
  set<T>(name: string, value: T): Entry {
    built.text(name);
    built.value<T>(value);
    count++;
    return this;
  }

  emit(): void {
    emitted.sized(0x92, 0x92d700, 3); // [[EventTime, metadata], record]
    emitted.sized(this.seconds >>> 24, ((<u64>this.seconds & 0xffffff) << 32) | this.nanoseconds, 7);
    emitted.byte(0x80);
    emitted.head(count, 0x80, 0xde);
    emitted.copy(built.start, <u32>(built.end - built.start));
    emittedCount++;
  }
}

export function nothingEmitted(): void {
  emitted.end = emitted.start;
  emittedCount = 0;
}

/** The call fails: the block's records are kept or dropped as the configuration says, and the reason is shown. */
export function fail(reason: string): void {
  failure = reason;
}

export function noFailure(): void {
  failure = null;
}
