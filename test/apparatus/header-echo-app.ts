import http from "node:http";

// Answers with what it was asked, as JSON: its service, the request's line and headers.
http
  .createServer(({ method, url, headers }, response) => {
    const service = process.env["TROTH_SERVICE"];
    response.setHeader("content-type", "application/json");
    response.end(`${JSON.stringify({ service, line: `${method} ${url}`, headers })}\n`);
  })
  .listen({ host: "127.0.0.1", port: Number(process.env["PORT"]) });
