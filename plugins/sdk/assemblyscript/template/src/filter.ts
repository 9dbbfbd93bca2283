import { Record } from "../sdk/logllm";

/** Called with every record. It returns whether the record is kept. */
export function filter(record: Record): bool {
  if (record.is("level", "debug")) return false;
  if (record.is("level", "error")) record.set("seen_by", "{{name}}");
  return true;
}
