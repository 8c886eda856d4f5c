import type { MethodDefinition } from "@grpc/proto-loader";

/** A method whose messages are bytes as they are. */
export type EchoMethod = Pick<
  MethodDefinition<object, object>,
  | "path"
  | "requestStream"
  | "responseStream"
  | "requestSerialize"
  | "requestDeserialize"
  | "responseSerialize"
  | "responseDeserialize"
>;

/** A service that sends every message back. */
export const echoService = {
  Unary: echoMethod("/echo.Echo/Unary", false),
  Duplex: echoMethod("/echo.Echo/Duplex", true),
} as const;

function echoMethod(path: string, isStream: boolean): EchoMethod {
  return {
    path,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: bytesOf,
    requestDeserialize: bytesOf,
    responseSerialize: bytesOf,
    responseDeserialize: bytesOf,
  };
}

/** A message of the service; throws where it is none. */
export function bytesOf(message: object | undefined): Buffer {
  if (!Buffer.isBuffer(message)) throw new Error("a message of echo.Echo is a Buffer");
  return message;
}
