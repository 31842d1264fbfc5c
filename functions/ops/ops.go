// Package ops is for who keeps the service running: what the broker gave up on and what the outbox had to park is
// shown here and sent again from here, so that nothing is dropped silently.
//
// Reading order: deadletters.go records the messages of the dead-letter queues and sends them again; parked.go
// shows and releases parked events; switches.go is what can be switched by hand; audit.go shows who did what; http.go is
// the API, for admins only; page.go serves the page that shows all of it, whose files are in page/.
package ops

import (
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

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
	// Switches are what can be switched by hand, by name.
	Switches map[string]Switch
	// Metrics is this process's metrics in Prometheus' text form.
	Metrics http.Handler
	Logger  *slog.Logger
}

// Ops are the use cases.
type Ops struct {
	Options
	on      map[string]*atomic.Bool // what each switch does in this process
	turning sync.Mutex
	turned  int // how often a switch was turned here, under turning
}

// New makes the slice and registers its operations and its page.
func New(o Options) (*Ops, error) {
	ops := &Ops{Options: o, on: make(map[string]*atomic.Bool, len(o.Switches))}
	for name := range o.Switches {
		ops.on[name] = new(atomic.Bool)
	}
	ops.register()
	if err := ops.servePage(); err != nil {
		return nil, err
	}
	return ops, ops.watch()
}
