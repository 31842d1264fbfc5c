// Package contracts says what a change breaks for those who build on the service: which edits of the OpenAPI document
// and of an event's schema a client of the released ones would notice.
//
// What was released is in docs/released, written by `make release-contracts` and by nothing else. The handler's own
// tests hold what the code serves against it; the GraphQL schema has its released form beside its slice, and the
// reference implementation's idea of a breaking change (tests/e2e). docs/versioning.md has the rule in words.
//
// Read rest.go for the document, events.go for the events; the tests hold a list of edits that must be noticed.
// Package pact, below, is the other half: what two consumers say that they rely on.
package contracts
