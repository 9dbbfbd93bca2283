// A Fluent Bit filter in AssemblyScript. Built with --exportRuntime, so that the host allocates with __new and __pin.

let answer = new ArrayBuffer(0);

export function as_filter(tag: usize, tagLen: u32, sec: u32, nsec: u32, record: usize, recordLen: u32): usize {
  const text = String.UTF8.decodeUnsafe(record, recordLen);
  if (text.includes('"level":"debug"')) return 0;
  const name = String.UTF8.decodeUnsafe(tag, tagLen);
  assert(text.startsWith("{"), "no object");
  answer = String.UTF8.encode(text.slice(0, text.length - 1) + ',"tag":"' + name + '"}', true);
  return changetype<usize>(answer);
}
