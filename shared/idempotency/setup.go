package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/postgres"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/shared/secretbox"
)

// Options say what a Store stands on.
type Options struct {
	Pools *postgres.Pools
	// Lane is the way to the Redis that remembers answers and claims; nil goes straight to the database.
	Lane *sharedredis.Lane
	// LockNodes are independent Redis servers for the RedLock; none means no RedLock. The lock needs a majority
	// of them and is advisory: what it cannot say, the row says.
	LockNodes []*redis.Client
	// Box encrypts answers that hold a secret; nil refuses requests that are Sealed.
	Box *secretbox.Box
	// Timeout bounds a write from its claim to its commit.
	Timeout time.Duration
}

// New makes a Store.
func New(o Options) (*Store, error) {
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	c := &claims{lane: o.Lane, timeline: o.Pools.Timeline, metrics: m}
	if len(o.LockNodes) > 0 {
		nodes := make([]redsyncredis.Pool, len(o.LockNodes))
		for i, node := range o.LockNodes {
			nodes[i] = goredis.NewPool(node)
		}
		c.locks = redsync.New(nodes...)
	}
	return &Store{pool: o.Pools.Orders, claims: c, box: o.Box, timeout: o.Timeout, metrics: m}, nil
}

type metrics struct {
	hits      metric.Int64Counter
	conflicts metric.Int64Counter
	kinds     metric.Int64Counter
	lockTotal metric.Int64Counter
	lockWait  metric.Float64Histogram
}

func named(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
}

var (
	inFlight, reused = named("kind", "in_flight"), named("kind", "reused")
	lockResults      = map[string]metric.MeasurementOption{
		"acquired": named("result", "acquired"), "taken": named("result", "taken"), "failed": named("result", "failed"),
	}
)

func newMetrics() (m metrics, err error) {
	meter := otel.Meter("idempotency")
	var errs [5]error
	m.hits, errs[0] = meter.Int64Counter("order_idempotency_hits_total",
		metric.WithDescription("Keyed writes answered with a stored answer."))
	m.conflicts, errs[1] = meter.Int64Counter("order_concurrent_conflicts_total",
		metric.WithDescription("Keyed writes refused: an equal key in flight, or used for another request."))
	m.kinds, errs[4] = meter.Int64Counter("idempotency_conflicts_total",
		metric.WithDescription("The same by kind: in_flight, or reused for another request."))
	m.lockTotal, errs[2] = meter.Int64Counter("redlock_acquire_total",
		metric.WithDescription("RedLock attempts, by result."))
	m.lockWait, errs[3] = meter.Float64Histogram("redlock_wait_seconds",
		metric.WithDescription("How long a RedLock attempt took."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25))
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("making the idempotency metrics: %w", err)
	}
	// A counter that was never added to is not shown; these are looked at before they count anything.
	m.hits.Add(context.Background(), 0)
	m.conflicts.Add(context.Background(), 0)
	for _, kind := range []metric.MeasurementOption{inFlight, reused} {
		m.kinds.Add(context.Background(), 0, kind)
	}
	for _, result := range lockResults {
		m.lockTotal.Add(context.Background(), 0, result)
	}
	return m, nil
}

func (m metrics) hit(ctx context.Context) { m.hits.Add(ctx, 1) }

func (m metrics) conflict(ctx context.Context, err error) {
	switch {
	case errors.Is(err, ErrInFlight):
		m.conflicts.Add(ctx, 1)
		m.kinds.Add(ctx, 1, inFlight)
	case errors.Is(err, ErrKeyReused):
		m.conflicts.Add(ctx, 1)
		m.kinds.Add(ctx, 1, reused)
	}
}

func (m metrics) locked(ctx context.Context, err error, taken bool, took time.Duration) {
	result := "acquired"
	switch {
	case taken:
		result = "taken"
	case err != nil:
		result = "failed"
	}
	m.lockTotal.Add(ctx, 1, lockResults[result])
	m.lockWait.Record(ctx, took.Seconds())
}
