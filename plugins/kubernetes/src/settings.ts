// The configuration: what is lifted under which name, and what is left out.

import { Names, Value } from "../sdk/logllm";

// The places of the lifted fields' names in `fields`; the first four leave the map they are lifted from.
export const POD: u32 = 0;
export const NAMESPACE: u32 = 1;
export const CONTAINER: u32 = 2;
export const NODE: u32 = 3;
export const SERVICE: u32 = 4;
export const OWNER: u32 = 5;

const NAMES = ["pod", "namespace", "container", "node", "service", "owner"];
const FROM = ["pod_name", "namespace_name", "container_name", "host"];

class Settings {
  key: string = "kubernetes";
  serviceLabels: string[] = ["app.kubernetes.io/name", "app", "k8s-app"];
  ownerKeys: string[] = ["owner", "team"];
  fields: string[] = NAMES.slice(0);
  /** What leaves the map, by which of the first four were lifted: a bit each. */
  stripped: Names[] = [];
}

export const settings = new Settings();

/** Read the configuration; the reason where it is wrong. */
export function configure(config: Value): string | null {
  let keep: string[] = [];
  let drop: string[] = ["docker_id", "container_hash", "annotations"];
  let flatten = true;
  let key = config.length ? config.first() : config;
  for (let left = config.length; left; left--) {
    const value = key.next();
    let right = true;
    if (key.is("key")) {
      right = value.size > 0;
      settings.key = word(value);
    } else if (key.is("service_labels")) right = words(value, (settings.serviceLabels = []));
    else if (key.is("owner_keys")) right = words(value, (settings.ownerKeys = []));
    else if (key.is("keep")) right = words(value, keep);
    else if (key.is("drop")) right = words(value, drop);
    else if (key.is("flatten")) {
      right = value.isBool;
      flatten = value.bool();
    } else if (key.is("fields")) right = names(value);
    else return `${word(key)}: unknown; expected key, service_labels, owner_keys, keep, drop, flatten or fields`;
    if (!right) return `${word(key)}: ${expected(key)}`;
    key = value.next();
  }
  for (let mask = 0; mask < 1 << FROM.length; mask++) {
    const stripped: string[] = [];
    for (let i = 0; i < drop.length; i++) if (!keep.includes(drop[i])) stripped.push(drop[i]);
    for (let i = 0; flatten && i < FROM.length; i++) {
      if (mask & (1 << i) && !keep.includes(FROM[i])) stripped.push(FROM[i]);
    }
    settings.stripped.push(new Names(stripped));
  }
  return null;
}

function expected(key: Value): string {
  if (key.is("key")) return "expected a text that is not empty";
  if (key.is("flatten")) return "expected true or false";
  if (key.is("fields")) return `expected texts by name, of ${NAMES.join(", ")}; no two alike`;
  return "expected a list of texts";
}

function word(value: Value): string {
  const text = value.text();
  return text ? text : "";
}

function words(list: Value, to: string[]): bool {
  if (!list.isList) return false;
  let one = list.first();
  for (let left = list.length; left; left--) {
    if (!one.isText) return false;
    to.push(word(one));
    one = one.next();
  }
  return true;
}

function names(map: Value): bool {
  if (!map.isMap) return false;
  let key = map.first();
  for (let left = map.length; left; left--) {
    const at = NAMES.indexOf(word(key));
    const value = key.next();
    if (at < 0 || !value.isText) return false;
    settings.fields[at] = word(value);
    key = value.next();
  }
  for (let i = 0; i < NAMES.length; i++) {
    if (settings.fields[i].length && settings.fields.indexOf(settings.fields[i]) != i) return false;
  }
  return true;
}
