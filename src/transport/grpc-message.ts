/** What stands before a message of gRPC: whether it is compressed, and its length. */
export const prefixBytes = 5;

/** What our calls and answers say they are. */
export const grpcContentType = "application/grpc+proto";

/** A message as it goes over a stream; in memory of its own, since it may wait there for long. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafeSlow(prefixBytes + message.byteLength);
  frame[0] = 0;
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, prefixBytes);
  return frame;
}
