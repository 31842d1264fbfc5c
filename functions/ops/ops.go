// Package ops is for who keeps the service running: what the broker gave up on and what the outbox had to park is
// shown here and sent again from here, so that nothing is dropped silently.
//
// Reading order: deadletters.go records the messages of the dead-letter queues and sends them again; parked.go
// shows and releases parked events; http.go is the API, for admins only.
package ops

import (
	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// Options say what the slice stands on.
type Options struct {
	API     *rest.API
	Pools   *postgres.Pools
	Keys    *idempotency.Store
	Cursors *paging.Codec
	// Senders are the entities whose dead letters can be sent again, by name.
	Senders map[string]*servicebus.Sender
	// Nudge has the outbox's drain look at an aggregate.
	Nudge func(aggregates ...uuid.UUID)
}

// Ops are the use cases.
type Ops struct {
	Options
}

// New makes the slice and registers its operations.
func New(o Options) *Ops {
	ops := &Ops{o}
	ops.register()
	return ops
}
