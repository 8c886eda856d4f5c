import { join } from "node:path";
import { loadSync, type MethodDefinition, type ServiceDefinition } from "@grpc/proto-loader";
import { z } from "zod";

const definitions = loadSync(join(import.meta.dirname, "interop.proto"), { defaults: true });

const payloadSchema = z.object({ body: z.instanceof(Buffer) }).nullable();
const echoStatusSchema = z.object({ code: z.number(), message: z.string() }).nullable();

/** What the service's methods read; fields that no case uses are left out. */
export const messages = {
  simpleRequest: z.object({ responseSize: z.number(), responseStatus: echoStatusSchema }),
  inputRequest: z.object({ payload: payloadSchema }),
  inputResponse: z.object({ aggregatedPayloadSize: z.number() }),
  outputRequest: z.object({
    responseParameters: z.array(z.object({ size: z.number(), intervalUs: z.number() })),
    responseStatus: echoStatusSchema,
  }),
  /** Of a unary call or one message of a stream. */
  response: z.object({ payload: payloadSchema }),
};

/** With what a call shall end, where it asks for that. */
export type EchoStatus = z.infer<typeof echoStatusSchema>;

/** The metadata that the service sends back before the first message, and with the status. */
export const echoedMetadata = {
  initial: "x-grpc-test-echo-initial",
  trailing: "x-grpc-test-echo-trailing-bin",
} as const;

/** The methods of `grpc.testing.TestService`. */
export const testService: ServiceDefinition = serviceNamed("grpc.testing.TestService");

/** The method of that service with this name; throws where there is none. */
export function testMethod(name: string): MethodDefinition<object, object> {
  return methodOf(testService, name);
}

/** The one method of a service that no server has. */
export const methodOfUnknownService: MethodDefinition<object, object> = methodOf(
  serviceNamed("grpc.testing.UnimplementedService"),
  "UnimplementedCall",
);

/** A payload of so many bytes. */
export function payloadOf(bytes: number): { readonly payload: { readonly body: Buffer } } {
  return { payload: { body: Buffer.alloc(bytes) } };
}

function serviceNamed(name: string): ServiceDefinition {
  const found = definitions[name];
  if (found === undefined || isMessageOrEnum(found)) throw new Error(`interop.proto has no service ${name}`);
  return found;
}

function isMessageOrEnum(
  definition: NonNullable<(typeof definitions)[string]>,
): definition is Exclude<typeof definition, ServiceDefinition> {
  return typeof definition["format"] === "string";
}

function methodOf(service: ServiceDefinition, name: string): MethodDefinition<object, object> {
  const found = service[name];
  if (found === undefined) throw new Error(`interop.proto has no method ${name}`);
  return found;
}
