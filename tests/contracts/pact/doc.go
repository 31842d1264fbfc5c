// Package pact is two consumers of the service and what each relies on, no more: a storefront, which calls the API, and a
// webhook receiver, which hears events. Each test plays the consumer against a stand-in that answers what the contract
// says, and what the consumer used becomes the contract: pacts/*.json, which is in the repository. tests/e2e verifies both
// files against the running service.
//
// The library that writes and verifies contracts is native. So the tests have the build tag contracts, and
// `make contracts`, which `make check` runs, fetches it. A contract that changes fails until it is committed:
// `make contracts UPDATE=1` writes it.
package pact
