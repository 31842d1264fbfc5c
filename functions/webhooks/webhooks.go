// Package webhooks brings every event to every endpoint that subscribed to it, and lets the owners of endpoints
// manage them, see each attempt, and have anything sent again.
//
// A row per event and endpoint (webhook_deliveries) is queue, schedule and record in one. Messages only wake
// somebody up: one that is lost, late or there twice costs seconds, never a delivery, because a timer finds what is
// due, and an attempt needs the row's lease.
//
//	topic ──> FanOut ──> a row per subscribed endpoint ──> wake-up ──> Deliver ──> lease, sign, POST, verdict
//	                                 ^                                                │ not 2xx
//	                      Sweep ─────┴────────────── scheduled wake-up <──────────────┘
//
// A delivery's states; a verdict counts only under its own lease and for the endpoint's version that was attempted:
//
//	            2xx                          replay
//	pending ───────────> succeeded     dead ────────> pending, with the schedule from its start
//	  │ └── else: pending again, later
//	  └──────> dead: after the last attempt, or when the endpoint is disabled or deleted
//
// An endpoint's: enabled, disabled (by its owner, by an answer 410, or by days of failures; the last is asked again
// every hour and comes back by itself), deleted. While enabled, its circuit opens after failures in a row: pauses of
// growing length, after each of which one attempt goes through.
//
// Reading order: endpoint.go and manage.go for endpoints; fanout.go; deliver.go and lease.go for one invocation,
// attempt.go and verdict.go for one attempt, retry.go for the times; sweep.go; replay.go; feed.go, which is
// GET /events and knows nothing of all this.
package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// Options say what the slice stands on.
type Options struct {
	API     *rest.API
	Pools   *postgres.Pools
	Keys    *idempotency.Store // with a Box, as registering and rotating answer with a secret
	Cursors *paging.Codec
	Box     *secretbox.Box // seals the secrets of endpoints
	Egress  *egress.Client
	Logger  *slog.Logger
	// Send puts messages on the queue webhook-deliveries: Send of its servicebus.Sender.
	Send func(context.Context, []servicebus.Message) (int, error)
	// Nudge is told, after a commit, of which aggregates there are new events to send; nil tells nobody.
	Nudge func(aggregates ...uuid.UUID)
	// Poison keeps a message of an entity that is not ours, with the reason; its error gives the message back to the
	// broker. It must know a message that it has seen. nil writes it to the log.
	Poison func(ctx context.Context, entity string, m servicebus.Received, why error) error
	Limits Limits
}

// Limits are the numbers of delivering; zero values are what production has.
type Limits struct {
	Parallel    int           // attempts at once in this process: 10
	PerEndpoint int           // of which to one endpoint: 2
	Invocation  time.Duration // how long one invocation goes on with an endpoint's queue: 30 s
	Lease       time.Duration // longer than an attempt and its verdict can take: 1 min
	Patience    time.Duration // how long an invocation waits for a database that is away, half a message's lock: 30 s
	// FailingFor and Failures in a row disable an endpoint: 5 days and 20.
	FailingFor time.Duration
	Failures   int
	// Schedule is the pause after each failed attempt but the last: Standard Webhooks' 5 s to 24 h, about 76 h in all.
	Schedule []time.Duration
}

func (l Limits) orDefaults() Limits {
	for _, f := range []struct {
		to    *int
		value int
	}{{&l.Parallel, 10}, {&l.PerEndpoint, 2}, {&l.Failures, 20}} {
		if *f.to == 0 {
			*f.to = f.value
		}
	}
	for _, f := range []struct {
		to    *time.Duration
		value time.Duration
	}{
		{&l.Invocation, 30 * time.Second},
		{&l.Lease, time.Minute},
		{&l.Patience, 30 * time.Second},
		{&l.FailingFor, 5 * 24 * time.Hour},
	} {
		if *f.to == 0 {
			*f.to = f.value
		}
	}
	if l.Schedule == nil {
		l.Schedule = schedule
	}
	return l
}

// Webhooks are the use cases.
type Webhooks struct {
	Options
	pool     *postgres.Pool // of what no caller waits for
	bulkhead *bulkhead
	metrics  metrics
}

// New makes the slice and registers its operations.
func New(o Options) (*Webhooks, error) {
	if o.Nudge == nil {
		o.Nudge = func(...uuid.UUID) {}
	}
	if o.Poison == nil {
		o.Poison = func(ctx context.Context, entity string, m servicebus.Received, err error) error {
			o.Logger.ErrorContext(ctx, "a message is not ours", "entity", entity, "message", m.MessageID, "error", err)
			return nil
		}
	}
	if o.Box == nil {
		return nil, errors.New("webhooks need a box for their secrets")
	}
	o.Limits = o.Limits.orDefaults()
	m, err := newMetrics(o.Pools.Background)
	if err != nil {
		return nil, err
	}
	w := &Webhooks{Options: o, pool: o.Pools.Background, metrics: m, bulkhead: newBulkhead(o.Limits.Parallel, o.Limits.PerEndpoint)}
	w.register()
	return w, nil
}
