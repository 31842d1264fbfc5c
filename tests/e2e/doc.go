// Package e2e proves what only whole processes can: the built handler, staged and run behind the local host, with a
// real PostgreSQL, Redis and token issuer, killed and raced from outside. It holds tests only.
//
// Read stack_test.go (how a test starts a service of its own), gate_test.go (how a handler is caught between a commit
// and its answer), then the tests. `make test` runs them; alone:
//
//	go run ./infra/local services -- go test ./tests/e2e
package e2e
