module troth.example/test/peers/crl-go

go 1.21
