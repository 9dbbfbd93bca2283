// What a pod's name says of the workload it belongs to.

import { Value } from "../sdk/logllm";

const SUFFIX = 5; // what Kubernetes puts after a generated name
const LEAST_HASH = 6; // of a pod template: the digits of 32 bits, ten as a rule, few with less than eight
const SURE_HASH = 8;
const MOST_DIGITS = 10; // a CronJob's minute, a Job's index, a StatefulSet's ordinal

/**
 * How much of a pod's name is its workload's:
 *
 *     cart-7d9f8c6b5d-x2k4z      Deployment: hash of the template, five letters
 *     fluent-bit-x2k4z           DaemonSet, Job
 *     report-28561235-x2k4z      CronJob (minute), indexed Job, DeploymentConfig (version)
 *     kafka-0                    StatefulSet
 *     kube-apiserver-node-1      static pod: the node's name
 */
export function serviceSize(pod: Value, node: Value): i32 {
  const size = pod.size;
  const static_ = size - node.size - 1;
  if (node.size && static_ > 0 && pod.byteAt(static_) == 45 && ends(pod, node)) return static_;
  const last = segment(pod, size);
  if (!last) return size;
  if (size - last == SUFFIX && generated(pod, last, size)) {
    const rest = last - 1;
    const before = segment(pod, rest);
    if (before && (hash(pod, before, rest) || digits(pod, before, rest))) return before - 1;
    return rest;
  }
  return digits(pod, last, size) ? last - 1 : size;
}

/** Where the last part of a name begins, after a `-`; 0 where it has but one. */
function segment(pod: Value, end: i32): i32 {
  for (let at = end - 1; at > 0; at--) {
    if (pod.byteAt(at) == 45) return at == end - 1 ? 0 : at + 1;
  }
  return 0;
}

function ends(pod: Value, node: Value): bool {
  const from = pod.size - node.size;
  for (let i = 0, n = node.size; i < n; i++) if (pod.byteAt(from + i) != node.byteAt(i)) return false;
  return true;
}

/** Only what Kubernetes makes names of: no vowels and none of 0, 1 and 3, so that no word comes out. */
function generated(pod: Value, from: i32, to: i32): bool {
  for (let at = from; at < to; at++) {
    const c = pod.byteAt(at);
    const letter = c >= 98 && c <= 122 && c != 101 && c != 105 && c != 111 && c != 117 && c != 121;
    if (!letter && !(c == 50 || (c >= 52 && c <= 57))) return false;
  }
  return true;
}

function hash(pod: Value, from: i32, to: i32): bool {
  const size = to - from;
  if (size < LEAST_HASH || size > MOST_DIGITS || !generated(pod, from, to)) return false;
  if (size >= SURE_HASH) return true;
  for (let at = from; at < to; at++) if (pod.byteAt(at) < 58) return true;
  return false;
}

function digits(pod: Value, from: i32, to: i32): bool {
  if (to - from > MOST_DIGITS) return false;
  for (let at = from; at < to; at++) if (pod.byteAt(at) - 48 > 9) return false;
  return true;
}
