// Package dependency says what is done about each thing that the service needs and that can be slow, hang or be gone.
//
// This file is the one page of it: a policy per dependency, with every number. breaker.go keeps from asking what does not
// answer, and retry.go asks again where that does no harm. The library underneath (failsafe-go) is before its version 1:
// nobody outside of breaker.go knows it.
package dependency

import "time"

// Policy is what is done about one dependency.
type Policy struct {
	Name string // in metrics and logs

	// Connect and Call bound a connection and one call on it. The deadline of the request that asks is in force as well:
	// whichever ends first ends the wait.
	Connect, Call time.Duration

	// Failures in a row open the breaker. After Pause, give or take a fifth, one call goes through as the probe.
	Failures uint
	Pause    time.Duration

	// Retries of one call, each after a pause drawn from nothing to Backoff, which doubles (full jitter). They are made by
	// one layer only, and never more than a tenth of the calls (see Retrier).
	Retries int32
	Backoff time.Duration
}

// PostgreSQL is the truth.
//
// Who waits: for a connection DB_ACQUIRE_TIMEOUT (2 s), for a statement the request's deadline and the role's
// statement_timeout (5 s). Call is what a probe may take.
//
// Breaker: one for the server, not one for each pool: callers of all pools suspect, and one probe settles it for all. A
// caller's own failure never opens it, as it may be the caller's or the shop's (see shared/postgres/watch.go).
//
// Retries: reads that broke under way (Pool.Read). No write is repeated here, as a COMMIT without an answer may have
// happened: the client repeats it, with its key. pgx repeats nothing.
//
// Bulkheads: the pools. Orders, reads, background work and the drain have connections of their own, so that a flood of
// pages can't take those that orders need; there is no second limit on top.
var PostgreSQL = Policy{
	Name: "postgresql", Connect: 2 * time.Second, Call: 500 * time.Millisecond,
	Failures: 2, Pause: 250 * time.Millisecond,
	Retries: 1, Backoff: 50 * time.Millisecond,
}

// Redis is speed: without it everything is answered, only slower. So nobody waits for it for long or asks twice, and the
// first failure is enough.
//
// Retries: none, the client's are switched off too. What is not known is asked of the database.
//
// Bulkheads: what orders ask goes through the lane, one round trip at a time. What else is asked, the caches' reads above
// all, may use 24 of the 32 connections, and goes to the database when those are taken (see shared/redis/guard.go).
var Redis = Policy{
	Name: "redis", Connect: 250 * time.Millisecond, Call: 150 * time.Millisecond,
	Failures: 1, Pause: time.Second,
}

// ServiceBus is the wire.
//
// Retries: one, by the AMQP client, which gets its link or connection back only while it repeats a send; none of ours. It
// does no harm: messages carry ids, and receivers know what they have seen. Beyond it the outbox and the sweep repeat,
// with pauses of their own, what the database says is left.
//
// Breaker: one for the namespace. An answer of the broker, whatever it says, is no failure.
//
// Bulkheads: the drain holds connections while it sends, so that it has a pool of its own (DB_POOL_DRAIN).
var ServiceBus = Policy{
	Name: "servicebus", Call: 5 * time.Second,
	Failures: 3, Pause: time.Second,
	Retries: 1, Backoff: 100 * time.Millisecond,
}

// KeyVault holds secrets, and the identity's endpoint the tokens that open the others. Both are asked in the background,
// every SECRETS_REFRESH and before a token ends, and what they said last holds until they say something new: no request
// waits for them, so there is nothing to break. Retries are those of Azure's client.
var KeyVault = Policy{
	Name: "keyvault", Call: 5 * time.Second,
	Retries: 2, Backoff: 200 * time.Millisecond,
}

// Issuer publishes the keys of tokens. They are asked for once by all who need them, at most every Pause whatever came of
// it, and those at hand serve on meanwhile: that is its breaker, in shared/auth/keys.go. Nothing is retried.
var Issuer = Policy{
	Name: "issuer", Call: 5 * time.Second,
	Failures: 1, Pause: 10 * time.Second,
}

// Webhook endpoints are not on this page. There are thousands, and their breakers must hold over all processes and
// restarts: timeouts, schedule and circuit of each are in the database (functions/webhooks: retry.go, lease.go), and its
// bulkheads in attempt.go.
