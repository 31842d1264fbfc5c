package ops

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/rest"
)

// ParkedEvent is an event that the broker refused, or that waits behind such a one of its aggregate.
type ParkedEvent struct {
	ID            uuid.UUID `json:"id"`
	AggregateID   uuid.UUID `json:"aggregateId"`
	AggregateType string    `json:"aggregateType"`
	Sequence      int64     `json:"sequence"`
	Type          string    `json:"type"`
	Reason        string    `json:"reason"`
	ParkedAt      time.Time `json:"parkedAt"`
	Released      bool      `json:"released" doc:"On its way again"`
	Bytes         int       `json:"bytes"`
}

// Count is how many things an operation moved.
type Count struct {
	Count int64 `json:"count"`
}

func (o *Ops) listParked(ctx context.Context, after parkedPosition, limit int) ([]ParkedEvent, error) {
	list, err := outbox.ListParked(ctx, o.Pools.Reads, after.Aggregate, after.Sequence, limit)
	if err != nil {
		return nil, err
	}
	items := make([]ParkedEvent, len(list))
	for i, e := range list {
		items[i] = ParkedEvent{
			ID: e.ID, AggregateID: e.Aggregate, AggregateType: e.AggregateType, Sequence: e.Sequence, Type: e.Type,
			Reason: e.Reason, ParkedAt: e.ParkedAt, Released: e.Released, Bytes: e.Size,
		}
	}
	return items, nil
}

// release lets an aggregate's parked events go again, in their order.
func (o *Ops) release(ctx context.Context, aggregate uuid.UUID, key idempotency.Request) (rest.Answer, error) {
	answer, err := o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		n, err := outbox.Release(ctx, tx, aggregate)
		if err != nil {
			return rest.Answer{}, err
		}
		if n == 0 {
			return o.API.Refuse(ctx, rest.NewProblem(rest.NotFound, "Nothing of this aggregate is parked.")), nil
		}
		err = audit.Write(ctx, tx, audit.Entry{Action: audit.ParkedReleased, Target: aggregate.String(), Details: map[string]any{"count": n}})
		if err != nil {
			return rest.Answer{}, err
		}
		return rest.JSON(http.StatusAccepted, Count{n})
	})
	if err == nil {
		o.Nudge(aggregate)
	}
	return answer, err
}
