// Package chaos runs the whole service, two hosts with a handler each on one database, and hurts it on purpose while
// clients use it: each dependency is slow, gone, hanging, cut off or killed, each process is stopped or killed. What the
// clients did and heard is a history (tests/history), and the test fails when that history breaks a promise.
//
// Everything is drawn from one seed, which the test tells: CHAOS_SEED=7 does the same to the service again. `make test` runs
// it for twenty seconds, `make soak` for two minutes, SOAK=30m make soak for as long as one likes; where the page is that
// it writes stands in the test's output.
//
// Read soak_test.go, then stack_test.go (what runs), nemesis_test.go (what is done to it) and clients_test.go (who uses it).
package chaos
