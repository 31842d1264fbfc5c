package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// queuedLife is how long after its 202 an order may still be placed. A stored key lives for 24 hours from its commit,
// which is never before the moment of acceptance; an order placed later than that could be its own second (CX-04).
const queuedLife = 23 * time.Hour

// stepTime bounds the look at the key and the send: well inside of a request's deadline, as more comes after them.
const stepTime = 3 * time.Second

// errQueued says that a request was answered 202 before and has no outcome yet.
var errQueued = errors.New("the order is queued")

// queuedOrder is the message: what the lane needs, and what a refusal is rendered with.
type queuedOrder struct {
	Caller      uuid.UUID `json:"caller"`
	Operation   string    `json:"operation"`
	Key         string    `json:"key"`
	Fingerprint []byte    `json:"fingerprint"`
	Customer    uuid.UUID `json:"customer"`
	Draft       Draft     `json:"draft"`
	AcceptedAt  time.Time `json:"acceptedAt"` // by the database's clock
	Path        string    `json:"path"`
	Correlation string    `json:"correlation"`
}

func (q queuedOrder) request() idempotency.Request {
	r := idempotency.Request{Caller: q.Caller, Operation: q.Operation, Key: q.Key}
	copy(r.Fingerprint[:], q.Fingerprint)
	return r
}

// Queue keeps an order for later and answers 202, or with what is stored under its key. The message goes first and the
// ticket second: a process that dies in between leaves an order that will be placed, never a 202 without one. Each
// repeat sends again; the key makes the second placement a replay (CX-02).
func (o *Orders) Queue(ctx context.Context, draft Draft, key idempotency.Request, customer uuid.UUID) (rest.Answer, error) {
	return o.queue(ctx, draft, key, customer, "accepted")
}

// queue is Queue; outcome is how it is counted.
func (o *Orders) queue(ctx context.Context, draft Draft, key idempotency.Request, customer uuid.UUID, outcome string) (rest.Answer, error) {
	if _, problem := o.placement(ctx, draft, key, customer); problem != nil {
		return rest.Answer{}, problem
	}
	known, now, err := o.known(ctx, key)
	away := o.saturated(err)
	if away {
		now, err = o.acceptBlindly(ctx)
	}
	if err != nil {
		return rest.Answer{}, err
	}
	if known != nil {
		return *known, nil
	}
	call, id := rest.From(ctx), key.ID()
	body, err := json.Marshal(queuedOrder{
		Caller: key.Caller, Operation: key.Operation, Key: key.Key, Fingerprint: key.Fingerprint[:], Customer: customer,
		Draft: draft, AcceptedAt: now, Path: call.Path(), Correlation: call.Correlation,
	})
	if err != nil {
		return rest.Answer{}, fmt.Errorf("encoding an order request: %w", err)
	}
	message := servicebus.Message{ID: id.String(), Subject: "order.requested", ContentType: "application/json", Body: body, Trace: telemetry.TraceParent(ctx)}
	sending, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if _, err := o.Send(sending, []servicebus.Message{message}); err != nil {
		o.countQueued(ctx, "unsent")
		return rest.Answer{}, fmt.Errorf("%w: queueing an order: %w", postgres.ErrUnavailable, err)
	}
	if !away {
		err = o.ticket(ctx, key)
	}
	if away || o.saturated(err) {
		err = o.remember(ctx, key)
	}
	if err != nil {
		return rest.Answer{}, err
	}
	o.countQueued(ctx, outcome)
	o.accepted.Add(1)
	answer, err := rest.JSON(http.StatusAccepted, OrderRequest{ID: id, Status: Queued})
	answer.Location, answer.RetryAfter, answer.ETag = requests+"/"+id.String(), "1", ""
	return answer, err
}

// known reads the answer that is stored under a key, and the clock before it: an order that is not known yet was
// accepted before its key can be stored.
func (o *Orders) known(ctx context.Context, key idempotency.Request) (answer *rest.Answer, now time.Time, err error) {
	digest := key.Digest()
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	err = o.Pools.Orders.Do(ctx, func(conn *pgx.Conn) (err error) {
		batch := &pgx.Batch{}
		batch.Queue(`/* Orders.Accept */ SELECT clock_timestamp()`)
		batch.Queue(idempotency.FindSQL, digest[:])
		results := conn.SendBatch(ctx, batch)
		defer func() { err = errors.Join(err, results.Close()) }()
		if err := results.QueryRow().Scan(&now); err != nil {
			return err
		}
		o.clock.saw(now)
		rows, err := results.Query()
		if err != nil {
			return err
		}
		found, err := idempotency.ScanFound(rows, key)
		if err == nil && found != nil && !found.Expired {
			answer = &found.Answer
		}
		return err
	})
	return answer, now, err
}

// PlaceQueued places the orders of a batch of messages, through the lane and together with whoever else waits there.
// An error gives the batch back to the broker. It may come again after a success too: the keys are known then.
func (o *Orders) PlaceQueued(ctx context.Context, messages []servicebus.Received) error {
	errs := make([]error, len(messages))
	var all background.Group
	for i, m := range messages {
		all.Go("queued order", func() error {
			defer func() { // the message that makes it panic would come back for ever
				if p := recover(); p != nil {
					errs[i] = o.poison(ctx, m, fmt.Errorf("panic: %v", p))
				}
			}()
			errs[i] = o.patiently(ctx, func() error { return o.placeQueued(ctx, m) })
			return nil
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("placing %d queued orders: %w", len(messages), err)
	}
	return nil
}

// placeQueued places one order and writes down what became of it.
func (o *Orders) placeQueued(ctx context.Context, m servicebus.Received) error {
	q, err := readQueued(m.Body)
	if err != nil {
		return o.poison(ctx, m, err)
	}
	ctx = rest.Again(ctx, q.Operation, q.Path, q.Correlation)
	ctx, span := telemetry.Join(ctx, trace.SpanKindConsumer, "place queued order", m.Trace())
	defer span.End()
	key := q.request()
	p, problem := o.placement(ctx, q.Draft, key, q.Customer)
	if problem != nil {
		return o.poison(ctx, m, problem) // it was checked before it was queued
	}
	p.accepted = q.AcceptedAt
	answer, _, err := o.lane.commit(ctx, &p)
	switch {
	case errors.Is(err, idempotency.ErrKeyReused):
		// The key belongs to another body: what its own request would have heard.
		answer = o.API.Refuse(ctx, rest.KeyReusedProblem())
	case errors.Is(err, postgres.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), idempotency.IsDuplicate(err):
		return err
	case err != nil:
		return o.poison(ctx, m, err)
	}
	if !answer.Refused() {
		o.changed(ctx, q.Customer) // before its ticket says that it is there
	}
	if err := o.settle(ctx, key, answer); err != nil {
		return err
	}
	switch {
	case answer.Replayed:
		o.countQueued(ctx, "replayed")
	case answer.Refused():
		o.count(ctx, false)
		o.countQueued(ctx, "rejected")
	default:
		o.created.Add(ctx, 1, succeeded) // it was accepted before
		o.countQueued(ctx, "placed")
	}
	return nil
}

func readQueued(body []byte) (q queuedOrder, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return q, fmt.Errorf("not an order request of ours: %w", err)
	}
	if len(q.Fingerprint) != len(q.request().Fingerprint) || q.Key == "" || q.Operation == "" || q.Caller == uuid.Nil ||
		q.Customer == uuid.Nil || len(q.Draft.Lines) == 0 || q.AcceptedAt.IsZero() {
		return q, errors.New("not an order request of ours: a member is missing")
	}
	return q, nil
}

// poison keeps a message that can't be placed where an operator sees it and can send it again, and lets it go.
func (o *Orders) poison(ctx context.Context, m servicebus.Received, cause error) error {
	o.Logger.ErrorContext(ctx, "a queued order cannot be placed and is kept as a dead letter", "message_id", m.MessageID, "error", cause)
	if err := o.Poison(ctx, m, cause); err != nil {
		return fmt.Errorf("keeping a message that can't be placed: %w", err)
	}
	o.countQueued(ctx, "poison")
	return nil
}

// patiently repeats do while the database is away or the lane is full: given back at once, a message would be used up
// in as many rounds as it may be delivered.
func (o *Orders) patiently(ctx context.Context, do func() error) error {
	end := time.After(o.Patience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := do()
		if !errors.Is(err, postgres.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-end:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

func (o *Orders) countQueued(ctx context.Context, outcome string) {
	o.queued.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

func tooOld() *rest.Problem {
	return rest.NewProblem(rest.Expired, "The order waited for more than 23 hours and was not placed by this request.")
}
