package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/cache"
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
	// AvailabilityChanged is told, after a commit, which products became sold out or came back, with their new
	// sequence.
	AvailabilityChanged func(context.Context, map[uuid.UUID]int64)
	Logger              *slog.Logger // nil: the default one
	// Send puts messages into the queue of order requests.
	Send func(context.Context, []servicebus.Message) (int, error)
	// Poison keeps a message of that queue that can't be placed.
	Poison func(context.Context, servicebus.Received, error) error
	// Patience is how long a batch of queued orders waits for a database that is away: half a message's lock, 30 s.
	Patience time.Duration
	// QueueAfter has an order that would wait longer than this in the lane, or finds it full or the database away, kept
	// in the queue and answered 202. 0: such an order is refused.
	QueueAfter time.Duration
	// Redis keeps the tickets of orders that are queued while the database is away, and customers' lists of orders; nil: the
	// former are refused, the latter read from the database.
	Redis *redis.Client
	// Nudge is told, after a commit, of which aggregates there are new events to send; nil tells nobody.
	Nudge func(aggregates ...uuid.UUID)
}

// Orders are the use cases.
type Orders struct {
	Options
	lane    *lane
	lists   *cache.Private // the first pages of customers' own orders
	lost    func()         // lists.Lost
	clock   *databaseClock
	created metric.Int64Counter
	queued  metric.Int64Counter
	// accepted is counted by hand: on the order's way an addition is cheaper than an instrument.
	accepted *atomic.Int64
	oversold metric.Int64Counter
}

// New makes the slice and registers its operations.
func New(o Options) (*Orders, error) {
	accepted := new(atomic.Int64)
	_, err := otel.Meter("orders").Int64ObservableCounter("orders_accepted_total",
		metric.WithDescription("Orders placed, and those answered 202 to be placed later."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error { out.Observe(accepted.Load()); return nil }))
	if err != nil {
		return nil, fmt.Errorf("making orders_accepted_total: %w", err)
	}
	created, err := otel.Meter("orders").Int64Counter("order_creation_total",
		metric.WithDescription("Orders placed (success) and refused or failed (failed)."))
	if err != nil {
		return nil, fmt.Errorf("making order_creation_total: %w", err)
	}
	queued, err := otel.Meter("orders").Int64Counter("order_queued_total",
		metric.WithDescription("Orders answered 202 (accepted when the client asked for it, saturated when it didn't), refused for want of the broker (unsent), and what became of them: placed, rejected, replayed, poison."))
	if err != nil {
		return nil, fmt.Errorf("making order_queued_total: %w", err)
	}
	oversold, err := otel.Meter("orders").Int64Counter("oversell_detected_total",
		metric.WithDescription("Products whose books were found wrong, at each look: more sold than was taken from the shelf (oversold), or less (lost). Must be 0."))
	if err != nil {
		return nil, fmt.Errorf("making oversell_detected_total: %w", err)
	}
	// A counter that was never added to is not shown; alerts look at these before they count anything.
	for _, kind := range []metric.MeasurementOption{tooMany, tooFew} {
		oversold.Add(context.Background(), 0, kind)
	}
	created.Add(context.Background(), 0, succeeded)
	created.Add(context.Background(), 0, failed)
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Nudge == nil {
		o.Nudge = func(...uuid.UUID) {}
	}
	scheme, clock := &numberKey{pool: o.Pools.Orders}, &databaseClock{}
	orders := &Orders{
		Options: o, created: created, queued: queued, clock: clock, accepted: accepted, oversold: oversold,
		lists: cache.NewPrivate(cache.PrivateOptions{Name: "order_list", Redis: o.Redis, Write: o.Keys.Timeout(), Timeline: o.Pools.Timeline}),
		lane:  &lane{pool: o.Pools.Orders, clock: clock, numbers: scheme.load, changed: o.AvailabilityChanged, nudge: o.Nudge, logger: o.Logger},
	}
	if err := orders.lane.watch(otel.Meter("orders")); err != nil {
		return nil, err
	}
	if err := orders.lists.Watch(); err != nil {
		return nil, err
	}
	orders.lost = orders.lists.Lost
	orders.register()
	return orders, nil
}

// Place stores an order with its stock taken, once per key.
func (o *Orders) Place(ctx context.Context, draft Draft, key idempotency.Request, customer uuid.UUID) (rest.Answer, error) {
	p, problem := o.placement(ctx, draft, key, customer)
	if problem != nil {
		return rest.Answer{}, problem
	}
	own := customer == key.Caller
	if own {
		key = o.holding(key)
	}
	answer, err := o.Keys.Guard(ctx, key, func(ctx context.Context) (rest.Answer, time.Duration, error) {
		if o.QueueAfter > 0 && o.lane.delay() > o.QueueAfter {
			return rest.Answer{}, 0, errLongWait
		}
		return o.lane.commit(ctx, &p)
	})
	if o.saturated(err) {
		if answer, err = o.queue(ctx, draft, key, customer, "saturated"); err == nil {
			return answer, nil
		}
	}
	if errors.Is(err, errQueued) {
		// It was answered 202 before. The client gets that answer again, and the queue the message, as the first one
		// may never have arrived (CX-02).
		return o.Queue(ctx, draft, key, customer)
	}
	if err == nil && !own && !answer.Refused() {
		o.changed(ctx, customer)
	}
	if !answer.Replayed && !errors.Is(err, idempotency.ErrInFlight) && !errors.Is(err, idempotency.ErrKeyReused) {
		o.count(ctx, err == nil && answer.Status == http.StatusCreated)
	}
	return answer, err
}

// placement is a draft on its way, or what is wrong with it whatever the shelves hold.
func (o *Orders) placement(ctx context.Context, draft Draft, key idempotency.Request, customer uuid.UUID) (placement, *rest.Problem) {
	wants := make([]want, len(draft.Lines))
	for i, line := range draft.Lines {
		wants[i] = want{product: line.ProductID, quantity: line.Quantity, expected: line.ExpectedUnitPrice, pointer: fmt.Sprintf("/lines/%d", i)}
	}
	wants, problem := merge(wants)
	return placement{
		job: o.job(ctx, key), customer: customer, customerID: draft.CustomerID, address: draft.ShippingAddress, wants: wants,
	}, problem
}

// job is a piece of the lane's work, to be refused in the words of the request in ctx.
func (o *Orders) job(ctx context.Context, key idempotency.Request) job {
	return job{request: key, refuse: func(problem *rest.Problem) rest.Answer { return o.API.Refuse(ctx, problem) }}
}

var (
	succeeded = metric.WithAttributeSet(attribute.NewSet(attribute.String("status", "success")))
	failed    = metric.WithAttributeSet(attribute.NewSet(attribute.String("status", "failed")))
)

func (o *Orders) count(ctx context.Context, success bool) {
	if success {
		o.created.Add(ctx, 1, succeeded)
		o.accepted.Add(1)
		return
	}
	o.created.Add(ctx, 1, failed)
}

// numberKey reads the constants of the order numbers once: they never change.
type numberKey struct {
	pool *postgres.Pool
	mu   sync.Mutex
	read *numbers
}

func (k *numberKey) load(ctx context.Context) (numbers, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.read != nil {
		return *k.read, nil
	}
	var key []byte
	err := k.pool.Do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `/* Orders.NumberKey */ SELECT key FROM order_number_key`).Scan(&key)
	})
	if err != nil {
		return numbers{}, fmt.Errorf("reading the key of the order numbers: %w", err)
	}
	k.read = &numbers{key: key}
	return *k.read, nil
}
