package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// Drain sends the outbox's events to the broker: in order per aggregate, at least once, with the event's id as
// the message's. Any number of processes may drain at once.
type Drain struct {
	pool    *postgres.Pool
	sender  *servicebus.Sender
	logger  *slog.Logger
	lanes   [lanes]*lane
	feed    *alarm
	latency metric.Float64Histogram
}

// NewDrain makes a drain. Its pool should be its own: a broker that hangs holds its connections, up to four.
func NewDrain(pool *postgres.Pool, sender *servicebus.Sender, logger *slog.Logger) (*Drain, error) {
	latency, err := otel.Meter("outbox").Float64Histogram("outbox_publish_latency_seconds",
		metric.WithDescription("From an event's occurrence to its mark as sent."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .2, .3, .5, 1, 2.5, 5, 10, 60))
	if err != nil {
		return nil, fmt.Errorf("making outbox_publish_latency_seconds: %w", err)
	}
	d := &Drain{pool: pool, sender: sender, logger: logger, feed: newAlarm(), latency: latency}
	for i := range d.lanes {
		d.lanes[i] = &lane{drain: d, mask: (1<<shardsPerLane - 1) << (i * shardsPerLane), alarm: newAlarm()}
	}
	return d, nil
}

// Nudge says that events of these aggregates were committed just now. It never waits.
func (d *Drain) Nudge(aggregates ...uuid.UUID) {
	for _, a := range aggregates {
		bit := uint32(1) << shard(a)
		d.lanes[shard(a)/shardsPerLane].ring(bit)
	}
}

// Run answers nudges until ctx ends. Nothing is lost when it doesn't run: Sweep finds what is left.
func (d *Drain) Run(ctx context.Context) {
	var workers background.Group
	for _, l := range d.lanes {
		workers.Go("outbox lane", func() error { background.Again(ctx, "outbox lane", l.run); return nil })
	}
	workers.Go("event feed", func() error { background.Again(ctx, "event feed", d.runFeed); return nil })
	workers.Wait()
}

// Sweep sends everything that is there and returns when there is nothing more, or with the first failure of each
// lane. Shards that another drain is at are left to it.
func (d *Drain) Sweep(ctx context.Context) error {
	var workers background.Group
	for _, l := range d.lanes {
		workers.Go("outbox sweep", func() error { return l.sweep(ctx) })
	}
	errs := append(workers.Wait(), nil)
	for n, held := int64(1), false; n > 0 && !held && errs[lanes] == nil; {
		n, held, errs[lanes] = d.number(ctx)
	}
	for _, err := range errs {
		if err != nil {
			return err // the others say the same about the same broker
		}
	}
	return nil
}

// runFeed numbers what was sent, until ctx ends.
func (d *Drain) runFeed(ctx context.Context) {
	const pace = 100 * time.Millisecond // many sends are numbered at once
	var pause backoff
	for d.feed.wait(ctx) {
		n, held, err := d.number(ctx)
		if err != nil {
			d.logger.WarnContext(ctx, "events are not numbered for the feed", "error", err)
		}
		switch {
		case err != nil || held:
			d.feed.ring()
			sleep(ctx, pause.next())
		case n > 0: // there may be more
			pause = backoff{}
			d.feed.ring()
			sleep(ctx, pace)
		default:
			pause = backoff{}
		}
	}
}

// warn tells of events that were parked: someone must look at them.
func (d *Drain) warn(ctx context.Context, v verdict) {
	for i, r := range v.parked {
		d.logger.ErrorContext(ctx, "event parked", "event", r.id, "type", r.kind, "aggregate", r.aggregate, "sequence", r.sequence, "reason", v.reasons[i])
	}
	for i, aggregate := range v.repark {
		d.logger.ErrorContext(ctx, "released events parked again", "aggregate", aggregate, "reason", v.why[i])
	}
}
