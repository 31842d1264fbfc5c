package ops

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/rest"
)

const base = "/api/v1/ops"

// DeadLetterPage is a part of the dead letters that nobody has sent again or discarded, newest first.
type DeadLetterPage struct {
	Items      []DeadLetter `json:"items"`
	NextCursor string       `json:"nextCursor,omitempty"`
}

// ParkedPage is a part of the parked events, by aggregate and in their order.
type ParkedPage struct {
	Items      []ParkedEvent `json:"items"`
	NextCursor string        `json:"nextCursor,omitempty"`
}

func (o *Ops) register() {
	rest.Register(o.API, rest.Operation{
		ID: "list-dead-letters", Method: http.MethodGet, Path: base + "/dead-letters", Tag: "Operations", Policy: &auth.Operate,
		Summary: "List what the broker gave up on", Status: http.StatusOK, Response: DeadLetterPage{},
	}, o.deadLetters)
	rest.Register(o.API, rest.Operation{
		ID: "read-dead-letter", Method: http.MethodGet, Path: base + "/dead-letters/{id}", Tag: "Operations", Policy: &auth.Operate,
		Summary: "Read a dead letter", Status: http.StatusOK, Response: DeadLetter{}, Problems: []rest.ProblemKind{rest.NotFound},
	}, o.deadLetter)
	rest.Register(o.API, rest.Operation{
		ID: "redrive-dead-letter", Method: http.MethodPost, Path: base + "/dead-letters/{id}/redrive", Tag: "Operations", Policy: &auth.Operate, Keyed: true,
		Summary: "Send a dead letter again", Status: http.StatusOK, Response: DeadLetter{}, Problems: []rest.ProblemKind{rest.NotFound},
	}, func(ctx context.Context, in *deadLetterInput) (rest.Answer, error) {
		return o.redrive(ctx, in.ID, rest.From(ctx).Keyed())
	})
	rest.Register(o.API, rest.Operation{
		ID: "discard-dead-letter", Method: http.MethodPost, Path: base + "/dead-letters/{id}/discard", Tag: "Operations", Policy: &auth.Operate, Keyed: true,
		Summary: "Say that nobody needs a dead letter", Description: "For what nobody can read. It is kept for 90 days, and can be sent again until then.",
		Status: http.StatusOK, Response: DeadLetter{}, Problems: []rest.ProblemKind{rest.NotFound, rest.TooLate},
	}, func(ctx context.Context, in *discardInput) (rest.Answer, error) {
		return o.discard(ctx, in, rest.From(ctx).Keyed())
	})
	rest.Register(o.API, rest.Operation{
		ID: "list-parked-events", Method: http.MethodGet, Path: base + "/parked-events", Tag: "Operations", Policy: &auth.Operate,
		Summary: "List events that the broker refused, with those that wait behind them", Status: http.StatusOK, Response: ParkedPage{},
	}, o.parked)
	rest.Register(o.API, rest.Operation{
		ID: "release-parked-events", Method: http.MethodPost, Path: base + "/parked-events/{aggregateId}/release", Tag: "Operations", Policy: &auth.Operate, Keyed: true,
		Summary: "Send an aggregate's parked events again, in their order", Status: http.StatusAccepted, Response: Count{}, Problems: []rest.ProblemKind{rest.NotFound},
	}, func(ctx context.Context, in *aggregateInput) (rest.Answer, error) {
		return o.release(ctx, in.AggregateID, rest.From(ctx).Keyed())
	})
	rest.Register(o.API, rest.Operation{
		ID: "list-switches", Method: http.MethodGet, Path: base + "/switches", Tag: "Operations", Policy: &auth.Operate,
		Summary: "List what can be switched by hand, and who did", Status: http.StatusOK, Response: SwitchList{},
	}, o.switches)
	rest.Register(o.API, rest.Operation{
		ID: "set-switch", Method: http.MethodPut, Path: base + "/switches/{name}", Tag: "Operations", Policy: &auth.Operate, Keyed: true,
		Summary: "Switch something on or off", Description: "Every process follows within seconds.",
		Status: http.StatusOK, Response: SwitchState{}, Problems: []rest.ProblemKind{rest.NotFound},
	}, func(ctx context.Context, in *switchInput) (rest.Answer, error) {
		call := rest.From(ctx)
		return o.set(ctx, in.Name, in.Body.On, call.Caller.CustomerID(), call.Keyed())
	})
	rest.Register(o.API, rest.Operation{
		ID: "read-metrics", Method: http.MethodGet, Path: base + "/metrics", Tag: "Operations", Policy: &auth.Operate,
		Summary: "Read the metrics of the process that answers", Description: "As /metrics, in Prometheus' text form, for who can't reach that from outside.",
		Status: http.StatusOK, Response: "",
	}, o.metrics)
	rest.Register(o.API, rest.Operation{
		ID: "list-audit-log", Method: http.MethodGet, Path: base + "/audit", Tag: "Operations", Policy: &auth.Operate,
		Summary: "Read who did what, newest first", Description: "Kept for at least 400 days; nobody can change it.",
		Status: http.StatusOK, Response: AuditPage{},
	}, o.audit)
}

// metrics answers with the page for Prometheus.
func (o *Ops) metrics(ctx context.Context, _ *struct{}) (rest.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return rest.Answer{}, fmt.Errorf("reading the metrics: %w", err)
	}
	page := &buffer{header: http.Header{}, status: http.StatusOK}
	o.Metrics.ServeHTTP(page, request)
	if page.status != http.StatusOK {
		return rest.Answer{}, fmt.Errorf("reading the metrics: %d %s", page.status, page.body.Bytes())
	}
	return rest.Answer{Status: http.StatusOK, ContentType: page.header.Get("Content-Type"), Body: page.body.Bytes(), CacheControl: "no-store"}, nil
}

// buffer takes an answer.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (b *buffer) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter.
func (b *buffer) WriteHeader(status int) { b.status = status }

// Write implements http.ResponseWriter.
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

type pageInput struct {
	PageSize int    `query:"pageSize" minimum:"1" maximum:"100" default:"20"`
	Cursor   string `query:"cursor" maxLength:"2048" doc:"nextCursor of the page before"`
}

type deadLetterInput struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

type aggregateInput struct {
	AggregateID uuid.UUID `path:"aggregateId" format:"uuid"`
}

type deadPosition struct {
	ID uuid.UUID `json:"i"`
}

type parkedPosition struct {
	Aggregate uuid.UUID `json:"a"`
	Sequence  int64     `json:"s"`
}

func (o *Ops) deadLetters(ctx context.Context, in *pageInput) (rest.Answer, error) {
	scope, after := paging.Scope("dead-letters"), deadPosition{uuid.Max}
	if err := o.decode(scope, in.Cursor, &after); err != nil {
		return rest.Answer{}, err
	}
	page := DeadLetterPage{Items: []DeadLetter{}}
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) error {
		list, err := query(ctx, conn, listDeadSQL, after.ID, in.PageSize+1)
		page.Items = append(page.Items, list...)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	if len(page.Items) > in.PageSize {
		page.Items = page.Items[:in.PageSize]
		if page.NextCursor, err = o.Cursors.Encode(scope, deadPosition{page.Items[in.PageSize-1].ID}); err != nil {
			return rest.Answer{}, err
		}
	}
	return shown(page, "/dead-letters", in.PageSize, page.NextCursor)
}

func (o *Ops) deadLetter(ctx context.Context, in *deadLetterInput) (rest.Answer, error) {
	var letter *DeadLetter
	err := o.Pools.Reads.Do(ctx, func(conn *pgx.Conn) (err error) {
		letter, err = one(ctx, conn, readDeadSQL, in.ID)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	if letter == nil {
		return rest.Answer{}, noDeadLetter()
	}
	return rest.JSON(http.StatusOK, *letter)
}

func (o *Ops) parked(ctx context.Context, in *pageInput) (rest.Answer, error) {
	scope, after := paging.Scope("parked-events"), parkedPosition{}
	if err := o.decode(scope, in.Cursor, &after); err != nil {
		return rest.Answer{}, err
	}
	items, err := o.listParked(ctx, after, in.PageSize+1)
	if err != nil {
		return rest.Answer{}, err
	}
	page := ParkedPage{Items: items}
	if len(items) > in.PageSize {
		page.Items = items[:in.PageSize]
		last := page.Items[in.PageSize-1]
		if page.NextCursor, err = o.Cursors.Encode(scope, parkedPosition{last.AggregateID, last.Sequence}); err != nil {
			return rest.Answer{}, err
		}
	}
	return shown(page, "/parked-events", in.PageSize, page.NextCursor)
}

func (o *Ops) decode(scope, cursor string, into any) error {
	if cursor == "" {
		return nil
	}
	if err := o.Cursors.Decode(scope, cursor, into); err != nil {
		return rest.NewProblem(rest.Malformed, "The cursor is not one of this list. Start again without it.")
	}
	return nil
}

func shown(page any, path string, size int, next string) (rest.Answer, error) {
	answer, err := rest.JSON(http.StatusOK, page)
	answer.CacheControl = "no-store"
	answer.Link = paging.Link(base+path, url.Values{"pageSize": {strconv.Itoa(size)}}, next)
	return answer, err
}
