package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observer measures statements by name and pools by size. It is pgx's tracer: one hook at the driver's edge
// instead of a wrapper around every store.
type observer struct {
	duration metric.Float64Histogram
	byName   sync.Map // statement name -> metric.MeasurementOption
}

func newObserver() (*observer, error) {
	duration, err := otel.Meter("postgres").Float64Histogram("db_query_duration_seconds",
		metric.WithDescription("How long statements take, by statement."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5))
	if err != nil {
		return nil, fmt.Errorf("making db_query_duration_seconds: %w", err)
	}
	return &observer{duration: duration}, nil
}

// watch reports the connections of all pools together, and per pool.
func (o *observer) watch(pools *Pools) error {
	meter := otel.Meter("postgres")
	active, err := meter.Int64ObservableGauge("db_connections_active", metric.WithDescription("Connections in use, by pool."))
	if err != nil {
		return fmt.Errorf("making db_connections_active: %w", err)
	}
	idle, err := meter.Int64ObservableGauge("db_connections_idle", metric.WithDescription("Open connections not in use, by pool."))
	if err != nil {
		return fmt.Errorf("making db_connections_idle: %w", err)
	}
	limit, err := meter.Int64ObservableGauge("db_connections_max", metric.WithDescription("Connections that may be opened, by pool."))
	if err != nil {
		return fmt.Errorf("making db_connections_max: %w", err)
	}
	byPool := map[*Pool]metric.MeasurementOption{
		pools.Orders:     named("pool", "orders"),
		pools.Reads:      named("pool", "reads"),
		pools.Background: named("pool", "background"),
	}
	if pools.Drain != nil {
		byPool[pools.Drain] = named("pool", "drain")
	}
	_, err = meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		for pool, name := range byPool {
			stat := pool.pool.Stat()
			out.ObserveInt64(active, int64(stat.AcquiredConns()), name)
			out.ObserveInt64(idle, int64(stat.IdleConns()), name)
			out.ObserveInt64(limit, int64(stat.MaxConns()), name)
		}
		return nil
	}, active, idle, limit)
	if err != nil {
		return fmt.Errorf("watching the pools: %w", err)
	}
	return nil
}

func named(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
}

type started struct {
	at   time.Time
	name metric.MeasurementOption
}

type startedKey struct{}

// TraceQueryStart implements pgx.QueryTracer.
func (o *observer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, startedKey{}, started{at: time.Now(), name: o.label(data.SQL)})
}

// TraceQueryEnd implements pgx.QueryTracer.
func (o *observer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if s, ok := ctx.Value(startedKey{}).(started); ok {
		o.duration.Record(ctx, time.Since(s.at).Seconds(), s.name)
	}
}

// TraceBatchStart implements pgx.BatchTracer: a batch is one round trip, named after its first named statement.
func (o *observer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	name := o.label("")
	for _, q := range data.Batch.QueuedQueries {
		if strings.HasPrefix(q.SQL, "/* ") {
			name = o.label(q.SQL)
			break
		}
	}
	return context.WithValue(ctx, startedKey{}, started{at: time.Now(), name: name})
}

// TraceBatchQuery implements pgx.BatchTracer; the batch is measured as a whole.
func (o *observer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (o *observer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	if s, ok := ctx.Value(startedKey{}).(started); ok {
		o.duration.Record(ctx, time.Since(s.at).Seconds(), s.name)
	}
}

// label finds the statement's name in its leading comment; statements without one (begin, commit) share a label,
// so that the number of series is the number of names in the source.
func (o *observer) label(sql string) metric.MeasurementOption {
	name := "other"
	if rest, ok := strings.CutPrefix(strings.TrimSpace(sql), "/* "); ok {
		if n, _, ok := strings.Cut(rest, " */"); ok {
			name = n
		}
	}
	if opt, ok := o.byName.Load(name); ok {
		return opt.(metric.MeasurementOption)
	}
	opt, _ := o.byName.LoadOrStore(name, named("query", name))
	return opt.(metric.MeasurementOption)
}
