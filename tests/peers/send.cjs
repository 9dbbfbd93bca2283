// Sends events through @fluent-org/logger and prints one JSON object: how many promises resolved, what failed.
const { FluentClient } = require("@fluent-org/logger");

async function main(port, eventMode, count, ack) {
  const client = new FluentClient("node", {
    eventMode,
    milliseconds: true, // else whole seconds
    ack: ack ? { ackTimeout: 10000 } : undefined,
    socket: { host: "127.0.0.1", port, timeout: 10000 },
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

const [port, eventMode, count, ack] = process.argv.slice(2);
main(Number(port), eventMode, Number(count), ack === "ack");
