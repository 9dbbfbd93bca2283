// Lifts what Fluent Bit's kubernetes filter adds to a record to where it is searched and grouped by, and leaves out
// what nobody reads. Where a record has no such metadata, what its tag says of the pod is added.

import { NONE, Record, Value } from "../sdk/logllm";
import { serviceSize } from "./pod";
import { CONTAINER, NAMESPACE, NODE, OWNER, POD, SERVICE, settings } from "./settings";
import { tagContainer, tagNamespace, tagPod } from "./tag";

export { configure } from "./settings";
export { onTag } from "./tag";

/** Every record is kept, and nothing it says itself is changed. */
export function filter(record: Record): bool {
  const kubernetes = record.get(settings.key);
  let labels = NONE;
  let annotations = NONE;
  let pod = NONE;
  let namespace = NONE;
  let container = NONE;
  let node = NONE;
  if (kubernetes.isMap) {
    let key = kubernetes.first();
    for (let left = kubernetes.length; left; left--) {
      const value = key.next();
      // By size first: that tells most of them apart.
      switch (key.size) {
        case 4: if (key.is("host")) node = value; break;
        case 6: if (key.is("labels")) labels = value; break;
        case 8: if (key.is("pod_name")) pod = value; break;
        case 11: if (key.is("annotations")) annotations = value; break;
        case 14:
          if (key.is("namespace_name")) namespace = value;
          else if (key.is("container_name")) container = value;
      }
      key = value.next();
    }
  }
  let lifted = lift(record, POD, pod);
  lifted |= lift(record, NAMESPACE, namespace);
  lifted |= lift(record, CONTAINER, container);
  lifted |= lift(record, NODE, node);
  if (!pod.size) lift(record, POD, (pod = tagPod));
  if (!namespace.size) lift(record, NAMESPACE, tagNamespace);
  if (!container.size) lift(record, CONTAINER, (container = tagContainer));
  lift(record, OWNER, owner(labels, annotations));
  lift(record, SERVICE, service(labels, pod, node, container));
  if (kubernetes.isMap) strip(record, kubernetes, lifted);
  return true;
}

/** Set a field of the record's own, unless it has one of that name. A bit: it says now what the value says. */
function lift(record: Record, which: u32, value: Value): u32 {
  if (!value.size) return 0;
  const name = unchecked(settings.fields[which]);
  if (!name.length) return 0;
  const there = record.get(name);
  if (there.exists) return there.equals(value) ? 1 << which : 0;
  record.set(name, value);
  return 1 << which;
}

function owner(labels: Value, annotations: Value): Value {
  const keys = settings.ownerKeys;
  for (let i = 0, n = keys.length; i < n; i++) {
    const label = labels.get(unchecked(keys[i]));
    if (label.size) return label;
    const annotation = annotations.get(unchecked(keys[i]));
    if (annotation.size) return annotation;
  }
  return NONE;
}

function service(labels: Value, pod: Value, node: Value, container: Value): Value {
  const keys = settings.serviceLabels;
  for (let i = 0, n = keys.length; i < n; i++) {
    const label = labels.get(unchecked(keys[i]));
    if (label.size) return label;
  }
  if (!pod.size) return container;
  const size = serviceSize(pod, node);
  return size < pod.size ? pod.cut(0, size) : pod;
}

/** Leave out what has been lifted and what is heavy. */
function strip(record: Record, kubernetes: Value, lifted: u32): void {
  const left = kubernetes.without(unchecked(settings.stripped[lifted]));
  if (left == kubernetes) return;
  if (left.length) record.set(settings.key, left);
  else record.delete(settings.key);
}
