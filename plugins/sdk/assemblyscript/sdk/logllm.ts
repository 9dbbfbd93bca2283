// What a filter is written with: `import { Record } from "../sdk/logllm"`.

import { parse } from "./json";
import { made } from "./msgpack";
import { Value } from "./value";

export { NONE, Names, Value } from "./value";
export { Record, record } from "./record";
export { Entry, fail } from "./entry";
export { DEBUG, INFO, WARNING, ERROR, anomaly, ask, kvGet, kvSet, log, metric, now, random } from "./host";

/** JSON as a value, to look into or to set; `exists` is false of it where the text is no JSON. */
export function json(text: string): Value {
  const bytes = String.UTF8.encode(text);
  const at = changetype<usize>(bytes);
  return parse(at, at + bytes.byteLength, made);
}
