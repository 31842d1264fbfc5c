package orders

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/rest"
)

// Cancel cancels an order and gives its stock back, once: stock returns in the transaction that moves the state, and
// only if it moves. That transaction is the commit lane's, shared with the orders of the same products.
func (o *Orders) Cancel(ctx context.Context, id uuid.UUID, reason string, caller auth.Identity, key idempotency.Request) (rest.Answer, error) {
	var theirs uuid.UUID // whose order it is, when it is not the caller's
	answer, err := o.Keys.Guard(ctx, o.holding(key), func(ctx context.Context) (rest.Answer, time.Duration, error) {
		c := cancellation{
			job: o.job(ctx, key), reason: reason, admin: caller.Admin(),
			by: audit.By(ctx, audit.Entry{Who: caller}),
		}
		err := o.Pools.Orders.Do(ctx, func(conn *pgx.Conn) (err error) {
			c.order, err = one(ctx, conn, readSQL, id)
			return err
		})
		if err != nil {
			return rest.Answer{}, 0, err
		}
		if c.order != nil && !auth.OrderCancel.Reaches(caller, c.order.customer) {
			c.order = nil
		}
		if c.order != nil && c.order.customer != key.Caller {
			theirs = c.order.customer
		}
		return o.lane.commit(ctx, &c)
	})
	if err == nil && theirs != uuid.Nil && !answer.Refused() {
		o.changed(ctx, theirs)
	}
	return answer, err
}

func notFound() *rest.Problem {
	return rest.NewProblem(rest.NotFound, "There is no such order, or it is not yours.")
}

// standing is how far an order has come: all of it that ever changes.
type standing struct {
	status  Status
	version int64
}

// cancellation is an order on its way back.
type cancellation struct {
	job
	// order was read before the lane, by who may see it: its lines never change, so that the products to lock are
	// known. Where it stands is read under the locks. nil: there is none that the caller may see.
	order  *Order
	reason string
	admin  bool
	by     audit.Entry // who cancels, in which request
}

func (c *cancellation) kind() kind { return cancelling }

func (c *cancellation) size() int {
	if c.order == nil {
		return 0
	}
	return len(c.order.Lines)
}

func (c *cancellation) needs(n *needs) {
	if c.order == nil {
		return
	}
	for _, line := range c.order.Lines {
		n.products[line.ProductID] = struct{}{}
	}
	n.orders = append(n.orders, c.order.ID)
}

// decide gives the order's stock back, or refuses: once per order, as what comes later in the batch finds it
// cancelled (CX-14).
func (c *cancellation) decide(d *plan, s *situation, _ int64) (idempotency.Answer, error) {
	if c.order == nil {
		return c.refuse(notFound()), nil
	}
	at, ok := s.orders[c.order.ID]
	if !ok {
		return c.refuse(notFound()), nil // it was removed since it was read
	}
	if no := at.status.cancellable(c.admin); no != "" {
		return c.refuse(rest.NewProblem(rest.TooLate, "%s", no)), nil
	}
	order := *c.order
	order.Status, order.CancelReason, order.version = Cancelled, c.reason, at.version+1
	answer := orderAnswer(http.StatusOK, order)
	s.orders[order.ID] = standing{order.Status, order.version}
	d.cancelled = append(d.cancelled, order)
	entry := c.by
	entry.Action, entry.Target = audit.OrderCancelled, order.ID.String()
	entry.Details = map[string]any{"orderNumber": order.OrderNumber, "customerId": order.CustomerID, "was": at.status, "asAdmin": order.customer != c.by.Who.Key()}
	d.audit = append(d.audit, entry)
	d.events = append(d.events, c.event(order, events.OrderCancelled, answer, s.now))
	for _, line := range order.Lines {
		d.giveBack(line, s)
	}
	return answer, nil
}
