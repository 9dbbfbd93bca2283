// Sends events through @fluent-org/logger and prints one JSON object: how many promises resolved, what failed.
// The one argument is JSON: { port, mode, count, ack, security, tls: { ca, cert, key } }, files by name.
const { readFileSync } = require("node:fs");
const { FluentClient } = require("@fluent-org/logger");

async function main({ port, mode, count, ack, security, tls }) {
  const files = Object.fromEntries(Object.entries(tls ?? {}).map(([name, path]) => [name, readFileSync(path)]));
  const client = new FluentClient("node", {
    eventMode: mode,
    milliseconds: true, // else whole seconds
    ack: ack ? { ackTimeout: 10000 } : undefined,
    socket: { host: "localhost", port, timeout: 10000, tls: tls ? { ...files, servername: "localhost" } : undefined },
    security,
  });
  const sent = [];
  for (let i = 0; i < count; i++) {
    sent.push(client.emit("web", { message: `event ${i}`, level: i % 10 ? "info" : "error" }, 1700000000000 + i));
  }
  const results = await Promise.allSettled(sent);
  await client.disconnect();
  const failed = results.filter((result) => result.status === "rejected").map((result) => String(result.reason));
  console.log(JSON.stringify({ resolved: count - failed.length, failed: failed.slice(0, 3) }));
}

main(JSON.parse(process.argv[2]));
