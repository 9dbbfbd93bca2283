// A FluentServer on a free port: prints its port, then each entry it receives, one JSON value a line. Ends with stdin.
const { FluentServer } = require("@fluent-org/logger");
const { readFileSync } = require("fs");

class Receiver extends FluentServer {
  onEntry(tag, time, record) {
    const [seconds, nanoseconds] = time.epoch === undefined ? [time, 0] : [time.epoch, time.nano];
    console.log(JSON.stringify({ tag, seconds, nanoseconds, record }));
  }
}

async function main({ key, user, password, cert, certKey }) {
  const server = new Receiver({
    listenOptions: { port: 0, host: "127.0.0.1" },
    security: key && {
      serverHostname: "receiver",
      sharedKey: key,
      authorize: Boolean(user),
      userDict: user && { [user]: password },
    },
    tlsOptions: cert && { cert: readFileSync(cert), key: readFileSync(certKey) },
  });
  await server.listen();
  console.log(server.port);
  // What is printed waits for a reader: end when all of it has been taken.
  process.stdin.on("end", () => process.stdout.write("", () => process.exit(0))).resume();
}

main(JSON.parse(process.argv[2]));
