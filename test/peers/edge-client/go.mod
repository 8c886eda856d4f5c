module troth.test/edge-client

go 1.21
