package orders

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/postgres"
)

// placement is an order on its way into the database.
type placement struct {
	job
	customer   uuid.UUID
	customerID string
	address    Address
	wants      []want // merged and sorted
}

func (p *placement) kind() kind { return placing }
func (p *placement) size() int  { return len(p.wants) }

func (p *placement) needs(n *needs) {
	for _, w := range p.wants {
		n.products[w.product] = struct{}{}
	}
	n.requests = append(n.requests, p.request.ID())
}

// decide takes the order's stock, or refuses it.
func (p *placement) decide(d *plan, s *situation, ticket int64) (idempotency.Answer, error) {
	if p.accepted.IsZero() && s.queued[p.request.ID()] {
		return idempotency.Answer{}, errQueued
	}
	if !p.accepted.IsZero() && s.now.Sub(p.accepted) > queuedLife {
		return p.refuse(tooOld()), nil
	}
	takes, problem := decide(p.wants, s.shelves)
	if problem != nil {
		return p.refuse(problem), nil
	}
	list, total, problem := lines(takes)
	if problem != nil {
		return p.refuse(problem), nil
	}
	order := Order{
		ID: postgres.NewID(s.now), OrderNumber: s.scheme.number(ticket), Status: Pending,
		CustomerID: p.customerID, ShippingAddress: p.address, Lines: list, TotalAmount: total, CreatedAt: s.now,
		customer: p.customer, version: 1,
	}
	answer := orderAnswer(http.StatusCreated, order)
	answer.Location = base + "/" + order.ID.String()
	d.placed = append(d.placed, order)
	d.events = append(d.events, p.event(order, events.OrderCreated, answer, s.now))
	for _, t := range takes {
		d.take(t, s)
	}
	return answer, nil
}
