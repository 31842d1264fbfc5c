package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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

	// For the watch: statements (a batch is one) that are under way, and how many the server has answered.
	underWay atomic.Int64
	answers  atomic.Uint64
}

// ended notes the end of a statement.
func (o *observer) ended(err error) {
	o.underWay.Add(-1)
	if err == nil || Code(err) != "" {
		o.answers.Add(1)
	}
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

// watch reports the connections per pool, and how long who found none had to wait for one.
func (o *observer) watch(pools *Pools) error {
	meter := otel.Meter("postgres")
	var errs [6]error
	var active, idle, limit metric.Int64ObservableGauge
	var waits, gaveUp metric.Int64ObservableCounter
	var waited metric.Float64ObservableCounter
	active, errs[0] = meter.Int64ObservableGauge("db_connections_active", metric.WithDescription("Connections in use, by pool."))
	idle, errs[1] = meter.Int64ObservableGauge("db_connections_idle", metric.WithDescription("Open connections not in use, by pool."))
	limit, errs[2] = meter.Int64ObservableGauge("db_connections_max", metric.WithDescription("Connections that may be opened, by pool."))
	waits, errs[3] = meter.Int64ObservableCounter("db_pool_waits_total", metric.WithDescription("Times that no connection was free, by pool."))
	waited, errs[4] = meter.Float64ObservableCounter("db_pool_wait_seconds_total", metric.WithDescription("Time spent waiting for a connection, by pool."))
	gaveUp, errs[5] = meter.Int64ObservableCounter("db_pool_timeouts_total", metric.WithDescription("Waits for a connection that ended without one, by pool."))
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("making the metrics of the pools: %w", err)
	}
	byPool := map[*Pool]metric.MeasurementOption{
		pools.Orders:     named("pool", "orders"),
		pools.Reads:      named("pool", "reads"),
		pools.Background: named("pool", "background"),
	}
	if pools.Drain != nil {
		byPool[pools.Drain] = named("pool", "drain")
	}
	_, err := meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		for pool, name := range byPool {
			stat := pool.pool.Stat()
			out.ObserveInt64(active, int64(stat.AcquiredConns()), name)
			out.ObserveInt64(idle, int64(stat.IdleConns()), name)
			out.ObserveInt64(limit, int64(stat.MaxConns()), name)
			out.ObserveInt64(waits, stat.EmptyAcquireCount(), name)
			out.ObserveFloat64(waited, stat.EmptyAcquireWaitTime().Seconds(), name)
			out.ObserveInt64(gaveUp, stat.CanceledAcquireCount(), name)
		}
		return nil
	}, active, idle, limit, waits, waited, gaveUp)
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
	span *statementSpan // nil: nobody traces this
}

type startedKey struct{}

// TraceQueryStart implements pgx.QueryTracer.
func (o *observer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	o.underWay.Add(1)
	span := traceStatement(ctx, conn, data.SQL)
	return context.WithValue(ctx, startedKey{}, started{at: time.Now(), name: o.label(data.SQL), span: span})
}

// TraceQueryEnd implements pgx.QueryTracer.
func (o *observer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	o.ended(data.Err)
	if s, ok := ctx.Value(startedKey{}).(started); ok {
		o.duration.Record(ctx, time.Since(s.at).Seconds(), s.name)
		s.span.end(data.Err)
	}
}

// TraceBatchStart implements pgx.BatchTracer: a batch is one round trip, named after its first named statement.
func (o *observer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := ""
	for _, q := range data.Batch.QueuedQueries {
		if strings.HasPrefix(q.SQL, "/* ") && q.SQL != PlanOnceSQL { // which is not what the batch is for
			sql = q.SQL
			break
		}
	}
	o.underWay.Add(1)
	span := traceBatch(ctx, conn, sql, len(data.Batch.QueuedQueries))
	return context.WithValue(ctx, startedKey{}, started{at: time.Now(), name: o.label(sql), span: span})
}

// TraceBatchQuery implements pgx.BatchTracer. The batch is measured as a whole; a trace shows its statements.
func (o *observer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if s, ok := ctx.Value(startedKey{}).(started); ok {
		s.span.statement(data.SQL, data.Err)
	}
}

// TraceBatchEnd implements pgx.BatchTracer.
func (o *observer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	o.ended(data.Err)
	if s, ok := ctx.Value(startedKey{}).(started); ok {
		o.duration.Record(ctx, time.Since(s.at).Seconds(), s.name)
		s.span.end(data.Err)
	}
}

// label finds the statement's name in its leading comment; statements without one (begin, commit) share a label,
// so that the number of series is the number of names in the source.
func (o *observer) label(sql string) metric.MeasurementOption {
	name, _ := nameOf(sql)
	if name == "" {
		name = "other"
	}
	if opt, ok := o.byName.Load(name); ok {
		return opt.(metric.MeasurementOption)
	}
	opt, _ := o.byName.LoadOrStore(name, named("query", name))
	return opt.(metric.MeasurementOption)
}
