import http from "node:http";

// The least application: listens where it is told and answers everything.
const server = http.createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
});
server.keepAliveTimeout = 120_000;
server.listen({ host: "127.0.0.1", port: Number(process.env["PORT"]) });
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
