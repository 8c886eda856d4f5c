// @connectrpc/connect 2.2 names a type of the browser's library; Node.js has the same one under another name.
type HeadersInit = ConstructorParameters<typeof Headers>[0];
