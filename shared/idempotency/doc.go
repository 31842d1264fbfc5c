// Package idempotency makes a write happen once per Idempotency-Key, whatever is killed, retried or raced.
//
// The truth is one row: every keyed write commits its effect, its key and its answer in ONE PostgreSQL
// transaction, so either all of it happened or none. A second transaction with the same key meets the primary
// key, rolls back and answers what the first one stored. Nothing else is needed for correctness.
//
// In front of the row stand layers that only save work, each of which may be lost or lie:
//
//	in-process   an equal key in flight in this process is refused (409) before it costs anything
//	Redis        one round trip: the stored answer of a known key, or the caller's rate limit and a claim on a new one
//	RedLock      optionally, a lock over several independent Redis nodes (redsync)
//
// Behaviour follows draft-ietf-httpapi-idempotency-key-header. Read key.go (what a key and a fingerprint are),
// store.go (the row and the order of events), claims.go (Redis).
package idempotency
