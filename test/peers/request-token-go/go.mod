module troth.example/test/peers/request-token-go

go 1.23.0
