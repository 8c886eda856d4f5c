module troth.example/test/peers/http1-reader

go 1.23.0
