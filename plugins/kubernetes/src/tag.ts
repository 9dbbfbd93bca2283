// What the tag of a container's log says: kube.var.log.containers.POD_NAMESPACE_CONTAINER-ID.log, as Fluent Bit's tail
// input makes it of the file's path.

import { NONE, Value, record } from "../sdk/logllm";
import { Area } from "../sdk/msgpack";

const BEFORE = "var.log.containers.";
const AFTER = ".log";
const ID = 64;

export let tagPod: Value = NONE;
export let tagNamespace: Value = NONE;
export let tagContainer: Value = NONE;

const parts = new Area();

/** The tag is another one. */
export function onTag(): void {
  tagPod = tagNamespace = tagContainer = NONE;
  const tag = record.tag;
  const at = tag.indexOf(BEFORE);
  if (at < 0 || (at > 0 && tag.charCodeAt(at - 1) != 46) || !tag.endsWith(AFTER)) return;
  const pod = at + BEFORE.length;
  const namespace = tag.indexOf("_", pod) + 1;
  const container = namespace ? tag.indexOf("_", namespace) + 1 : 0;
  if (!container) return;
  let end = tag.length - AFTER.length;
  if (end - container > ID && tag.charCodeAt(end - ID - 1) == 45 && isId(tag, end - ID, end)) end -= ID + 1;
  if (namespace - 1 <= pod || container - 1 <= namespace || end <= container) return;
  parts.end = parts.start;
  // All at once: what is written does not move any more.
  parts.room(4 * tag.length + 16);
  tagPod = part(tag, pod, namespace - 1);
  tagNamespace = part(tag, namespace, container - 1);
  tagContainer = part(tag, container, end);
}

function part(tag: string, from: i32, to: i32): Value {
  const at = parts.end;
  parts.text(tag.substring(from, to));
  return changetype<Value>(at);
}

function isId(tag: string, from: i32, to: i32): bool {
  for (let at = from; at < to; at++) {
    const c = tag.charCodeAt(at);
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102))) return false;
  }
  return true;
}
