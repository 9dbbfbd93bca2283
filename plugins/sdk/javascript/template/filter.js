// {{name}}: drops debug records and marks errors.

import { log } from "./sdk/logllm.js";

// Called once, with the table `config` of the filter's configuration. What it throws refuses to start.
export function init(config) {
  log(`{{name}} is ready, its config is ${JSON.stringify(config)}`);
}

// Called for each record, an object. Give back the record, changed or not, or null to drop it.
//
// `tag` is the stream it came in, `time` its milliseconds since 1970. What it throws costs this record and no other.
export function filter(record, tag, time) {
  if (record.level === "debug") return null;
  if (record.level === "error") record.seen_by = "{{name}}";
  return record;
}
