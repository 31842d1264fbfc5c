package orders

import (
	"context"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/rest"
)

const base = "/api/v1/orders"

func (o *Orders) register() {
	rest.Register(o.API, rest.Operation{
		ID: "place-order", Method: http.MethodPost, Path: base, Tag: "Orders", Policy: &auth.OrderWrite, Keyed: true,
		Summary: "Place an order", Description: "Takes the stock and stores the order, or does nothing. Lines of one product are merged. When there is too much to do, the answer may be 202 without having been asked for.",
		Status: http.StatusCreated, Response: Order{}, Problems: []rest.ProblemKind{rest.SoldOut, rest.PriceChanged, rest.Forbidden, rest.Expired},
		Async: OrderRequest{},
	}, o.place)
	rest.Register(o.API, rest.Operation{
		ID: "read-order-request", Method: http.MethodGet, Path: requests + "/{id}", Tag: "Orders", Policy: &auth.OrderFollow,
		Summary: "Read what became of a queued order", Status: http.StatusOK, Response: OrderRequest{}, NotModified: true,
		Problems: []rest.ProblemKind{rest.NotFound},
	}, o.request)
	rest.Register(o.API, rest.Operation{
		ID: "read-order", Method: http.MethodGet, Path: base + "/{orderId}", Tag: "Orders", Policy: &auth.OrderRead,
		Summary: "Read an order", Status: http.StatusOK, Response: Order{}, NotModified: true, Problems: []rest.ProblemKind{rest.NotFound},
	}, o.read)
	rest.Register(o.API, rest.Operation{
		ID: "list-orders", Method: http.MethodGet, Path: base, Tag: "Orders", Policy: &auth.OrderRead,
		Summary: "List your orders, newest first", Status: http.StatusOK, Response: OrderPage{}, NotModified: true,
		Problems: []rest.ProblemKind{rest.Forbidden},
	}, o.list)
	rest.Register(o.API, rest.Operation{
		ID: "cancel-order", Method: http.MethodPatch, Path: base + "/{orderId}/cancel", Tag: "Orders", Policy: &auth.OrderCancel, Keyed: true,
		Summary: "Cancel an order", Description: "A customer can cancel while the order is Pending, an admin until it is Cancelled. The stock comes back once.",
		Status: http.StatusOK, Response: Order{}, Problems: []rest.ProblemKind{rest.NotFound, rest.TooLate},
	}, o.cancel)
	rest.Register(o.API, rest.Operation{
		ID: "confirm-order", Method: http.MethodPost, Path: base + "/{orderId}/confirm", Tag: "Orders", Policy: &auth.OrderConfirm, Keyed: true,
		Summary: "Confirm an order", Description: "Payment has arrived: Pending becomes Confirmed.",
		Status: http.StatusOK, Response: Order{}, Problems: []rest.ProblemKind{rest.NotFound, rest.TooLate},
	}, o.confirm)
	o.API.Event(events.OrderCreated, "An order was placed", Order{})
	o.API.Event(events.OrderConfirmed, "An order was confirmed", Order{})
	o.API.Event(events.OrderCancelled, "An order was cancelled", Order{})
}

type placeInput struct {
	Body Draft
}

func (o *Orders) place(ctx context.Context, in *placeInput) (rest.Answer, error) {
	return o.Submit(ctx, in.Body)
}

// Submit is the operation place-order: the draft is of the caller of the call in ctx, and once per its key.
func (o *Orders) Submit(ctx context.Context, draft Draft) (rest.Answer, error) {
	call := rest.From(ctx)
	customer, err := o.onBehalf(call.Caller, draft.CustomerID)
	if err != nil {
		return rest.Answer{}, err
	}
	if call.Async {
		answer, err := o.Queue(ctx, draft, call.Keyed(), customer)
		if answer.Status == http.StatusAccepted && call.Preferred {
			answer.Applied = rest.RespondAsync
		}
		return answer, err
	}
	return o.Place(ctx, draft, call.Keyed(), customer)
}

// onBehalf is whose order it is: the caller's own, or for an admin whoever they name.
func (o *Orders) onBehalf(caller auth.Identity, customerID string) (uuid.UUID, error) {
	if customerID == caller.CustomerID() {
		return caller.Key(), nil
	}
	if !caller.Admin() {
		return uuid.Nil, rest.NewProblem(rest.Forbidden, "customerId is not the caller; only an admin may act for others.")
	}
	return o.API.CustomerKey(customerID), nil
}

type orderInput struct {
	OrderID uuid.UUID `path:"orderId" format:"uuid"`
}

func (o *Orders) read(ctx context.Context, in *orderInput) (rest.Answer, error) {
	var order *Order
	err := o.Pools.Reads.Read(ctx, func(conn *pgx.Conn) (err error) {
		order, err = one(ctx, conn, readSQL, in.OrderID)
		return err
	})
	if err != nil {
		return rest.Answer{}, err
	}
	if order == nil || !auth.OrderRead.Reaches(rest.From(ctx).Caller, order.customer) {
		return rest.Answer{}, notFound()
	}
	answer, err := rest.JSON(http.StatusOK, *order)
	answer.CacheControl = "private, no-store"
	return answer, err
}

type cancelInput struct {
	OrderID uuid.UUID `path:"orderId" format:"uuid"`
	Body    struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500"`
	}
}

func (o *Orders) cancel(ctx context.Context, in *cancelInput) (rest.Answer, error) {
	call := rest.From(ctx)
	return o.Cancel(ctx, in.OrderID, in.Body.Reason, call.Caller, call.Keyed())
}

func (o *Orders) confirm(ctx context.Context, in *orderInput) (rest.Answer, error) {
	return o.Confirm(ctx, in.OrderID, rest.From(ctx).Keyed())
}
