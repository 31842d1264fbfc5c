package main

import (
	"context"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/docs"
	"github.com/company/order-catalog-service/functions/health"
	"github.com/company/order-catalog-service/functions/housekeeping"
	"github.com/company/order-catalog-service/functions/metrics"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/shared/postgres"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/servicebus"
)

// httpFunction is a function that the host sends requests to as they came. Route is what its function.json says;
// the operations below it are in the slice's own register.
type httpFunction struct {
	Function, Route string
	Register        func(*service) error
}

// httpFunctions are all functions with an httpTrigger.
var httpFunctions = []httpFunction{
	{Function: "catalog", Route: "api/v1/products/{*rest}", Register: (*service).registerCatalog},
	{Function: "carts", Route: "api/v1/carts/{*rest}", Register: func(s *service) error {
		s.carts = carts.New(carts.Options{API: s.api, Pools: s.pools, Keys: s.keys})
		return nil
	}},
	{Function: "orders", Route: "api/v1/orders/{*rest}", Register: (*service).registerOrders},
	{Function: "orders-requests", Route: "api/v1/order-requests/{id}", Register: func(*service) error { return nil }}, // orders serves it
	{Function: "ops", Route: "ops/{*rest}", Register: func(*service) error { return nil }},                            // ops-api serves it
	{Function: "ops-api", Route: "api/v1/ops/{*rest}", Register: (*service).registerOps},
	{Function: "webhooks", Route: "api/v1/webhooks/{*rest}", Register: (*service).registerWebhooks},
	{Function: "webhooks-events", Route: "api/v1/events", Register: func(*service) error { return nil }}, // webhooks serves it
	{Function: "graphql", Route: "graphql", Register: (*service).registerGraphQL},                        // of the slices before it
	{Function: "docs", Route: "docs/{*rest}", Register: func(s *service) error { return docs.Register(s.api) }},
	{Function: "docs-openapi", Route: "openapi.{format}", Register: func(*service) error { return nil }}, // docs serves it
	{Function: "health", Route: "health/{check}", Register: func(s *service) error {
		health.Register(s.api, s.probes)
		return nil
	}},
	{Function: "metrics", Route: "metrics", Register: func(s *service) error {
		metrics.Register(s.api, s.metrics)
		return nil
	}},
}

// retirements are the operations and versions on their way out, in the order in which they were announced. Nothing is so
// far. A line is all that it takes: the headers of each answer, the marks in the OpenAPI document, announced brown-outs, 410
// after the sunset and the count of who still calls (deprecated_requests_total) follow from it. See docs/versioning.md.
var retirements []rest.Retirement

// trigger is a function that the host calls with an envelope, at POST /{Function}.
// What else stands here is what its function.json says: a timer's schedule, or where messages come from.
type trigger struct {
	Function, Timer            string
	Queue, Topic, Subscription string
	Run                        func(*service) func(context.Context, invocation) error
}

// messages is the name of every Service Bus binding.
const messages = "messages"

// triggerFunctions are all functions with a timer or Service Bus trigger.
var triggerFunctions = []trigger{
	{Function: "housekeeping", Timer: "0 */5 * * * *", Run: func(s *service) func(context.Context, invocation) error {
		return onTimer(func(ctx context.Context, _ timerInfo) error {
			return housekeeping.Run(ctx, s.logger, s.chores())
		})
	}},
	{Function: "ops-dead-events", Topic: "order-events", Subscription: "webhooks/$DeadLetterQueue", Run: recordDead(servicebus.TopicOrderEvents)},
	{Function: "ops-dead-deliveries", Queue: "webhook-deliveries/$DeadLetterQueue", Run: recordDead(servicebus.QueueWebhookDelivery)},
	{Function: "ops-dead-requests", Queue: "order-requests/$DeadLetterQueue", Run: recordDead(servicebus.QueueOrderRequests)},
	{Function: "orders-queued", Queue: "order-requests", Run: func(s *service) func(context.Context, invocation) error {
		return onServiceBus(messages, func(ctx context.Context, list []servicebus.Received) error { return s.orders.PlaceQueued(ctx, list) })
	}},
	{Function: "webhooks-fanout", Topic: "order-events", Subscription: "webhooks", Run: func(s *service) func(context.Context, invocation) error {
		return onServiceBus(messages, func(ctx context.Context, list []servicebus.Received) error { return s.webhooks.FanOut(ctx, list) })
	}},
	{Function: "webhooks-deliver", Queue: "webhook-deliveries", Run: func(s *service) func(context.Context, invocation) error {
		return onServiceBus(messages, func(ctx context.Context, list []servicebus.Received) error { return s.webhooks.Deliver(ctx, list[0]) })
	}},
	{Function: "webhooks-sweep", Timer: "*/10 * * * * *", Run: func(s *service) func(context.Context, invocation) error {
		return onTimer(func(ctx context.Context, _ timerInfo) error { return s.webhooks.Sweep(ctx) })
	}},
	{Function: "outbox", Timer: "*/5 * * * * *", Run: func(s *service) func(context.Context, invocation) error {
		return onTimer(func(ctx context.Context, _ timerInfo) error { return s.drain.Sweep(ctx) })
	}},
}

// recordDead keeps the messages that the broker gave up on; entity is what they were sent to.
func recordDead(entity string) func(*service) func(context.Context, invocation) error {
	return func(s *service) func(context.Context, invocation) error {
		return onServiceBus(messages, func(ctx context.Context, list []servicebus.Received) error { return s.ops.Record(ctx, entity, list) })
	}
}

// chores are housekeeping's tasks.
func (s *service) chores() []housekeeping.Task {
	const batch = 1000
	return []housekeeping.Task{
		{Name: "partitions", Run: func(ctx context.Context) (int, error) {
			made, err := postgres.EnsurePartitions(ctx, s.pools.Background)
			return len(made), err
		}},
		{Name: "sent-events", Run: func(ctx context.Context) (int, error) {
			dropped, err := postgres.DropPublished(ctx, s.pools.Background)
			return len(dropped), err
		}},
		{Name: "confirm-orders", Run: func(ctx context.Context) (int, error) {
			return s.orders.ConfirmDue(ctx, s.pools.Background, s.config.OrderConfirmAfter, batch)
		}},
		{Name: "purge-keys", Run: func(ctx context.Context) (int, error) {
			return s.keys.Purge(ctx, s.pools.Background, batch)
		}},
		{Name: "purge-order-requests", Run: func(ctx context.Context) (int, error) {
			return orders.PurgeRequests(ctx, s.pools.Background, batch)
		}},
		{Name: "purge-dead-letters", Run: func(ctx context.Context) (int, error) { return s.ops.Purge(ctx, batch) }},
		{Name: "check-books", Run: func(ctx context.Context) (int, error) {
			if s.config.CheckBooksEvery == 0 {
				return 0, nil
			}
			_, err := s.orders.CheckBooks(ctx, s.pools.Background, s.config.CheckBooksEvery)
			return 0, err // once is enough, whatever was found
		}},
		{Name: "purge-carts", Run: func(ctx context.Context) (int, error) {
			return carts.Purge(ctx, s.pools.Background, cartLife, batch)
		}},
	}
}
