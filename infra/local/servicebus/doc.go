// Package servicebus is a stand-in for Azure Service Bus on one machine: an AMQP 1.0 broker that the unmodified
// azservicebus client speaks to. It exists so that the service runs and is tested over the real client and a real
// wire without an Azure account or Docker; tests/servicebus holds it and the real thing to the same suite.
//
// It has queues, topics with subscriptions, and a dead-letter sub-queue each; peek-lock with expiry and renewal,
// delivery counts, deferral, scheduled messages, sessions, duplicate detection, time to live, batches, peeking and
// SAS tokens. With a journal, what was acknowledged survives kill -9. It has no filters, forwarding, transactions,
// TLS or administration API, and says so when asked for one.
//
// Reading order: broker.go (what an embedder calls), config.go, stats.go and faults.go; then what the broker does with
// messages, in message.go, entity.go, accept.go, deliver.go, settle.go, sessions.go and sweep.go; persist.go for the journal;
// then the wire, from the outside in: conn.go, frames.go, link.go, transfer.go, and the two request nodes in cbs.go
// and manage.go. The AMQP types are in package amqp below.
//
// All state is behind one lock, Broker.mu, held while a frame is handled and never while the network or the disk is
// waited for. Answers leave in conn.go only after the journal holds what they promise.
package servicebus
