package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/demo"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/pump"
	"github.com/company/order-catalog-service/infra/local/receiver"
)

// runCommand is `make run`.
type runCommand struct {
	ports
}

// Help is what `run --help` says beyond the flags.
func (*runCommand) Help() string {
	return `DATABASE_URL (with MIGRATIONS_DATABASE_URL for the owner's role), REDIS_URL, SERVICEBUS_CONNECTION and AUTH_ISSUER, when set, are used instead of being started. Everything else in the environment reaches the handler: LOG_LEVEL, AUTH_AUDIENCE and so on.`
}

// Run starts the stack, tells how to use it, and ends with a Ctrl-C, with the terminal it runs in, or with the
// host.
func (c *runCommand) Run(root checkout) (err error) {
	ctx, stop := untilAskedToStop()
	defer stop()
	s, lock, err := begin(ctx, root, c.ports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	fmt.Println("Order & Catalog: the local stack of", root)
	defer s.stop()
	h, err := s.startAll(ctx)
	if ctx.Err() != nil {
		fmt.Println("\nStopped while starting.")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Print(s.welcome(ctx))
	ended := make(chan error, 1)
	go func() { ended <- h.Wait() }()
	for {
		select {
		case <-ctx.Done():
			stop() // the next Ctrl-C ends us at once, and the kernel ends what we started
			fmt.Println("\nStopping; Ctrl-C again doesn't wait for requests.")
			return nil
		case name := <-s.died:
			fmt.Printf("\n%s ended by itself. The service goes on without it as well as it can; start the stack again to have it back.\n", name)
		case err := <-ended:
			return fmt.Errorf("the host ended by itself: %w", err)
		}
	}
}

// untilAskedToStop ends with SIGINT, SIGTERM, the terminal, or the process that started us: `make` and `go run`
// pass no signal on when they are killed, and a stack nobody can see would hold its ports.
func untilAskedToStop() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	parent := os.Getppid()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for ctx.Err() == nil && os.Getppid() == parent {
			time.Sleep(200 * time.Millisecond)
		}
		cancel()
	}()
	return ctx, func() { cancel(); stop() }
}

func (s *stack) startAll(ctx context.Context) (*host.Host, error) {
	if err := s.build(ctx, s.root.scriptRoot(), false); err != nil {
		return nil, err
	}
	if err := s.startServices(ctx); err != nil {
		return nil, err
	}
	logger := newConsole(os.Stdout)
	messages, err := pump.Open(s.env["SERVICEBUS_CONNECTION"], logger)
	if err != nil {
		return nil, err
	}
	s.add("message pump", func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = messages.Close(ctx)
	}, nil)
	var h *host.Host
	err = s.steps.do("host", func(func(string)) (_ string, err error) {
		h, err = host.Load(host.Options{
			ScriptRoot: s.root.scriptRoot(), Addr: "127.0.0.1:" + strconv.Itoa(s.ports.HostPort), Env: s.environment(),
			StateDir: s.root.local("timers"), Logger: logger, Pump: messages.Receive,
		})
		if err != nil {
			return "", err
		}
		if err := h.Start(ctx); err != nil {
			return "", err
		}
		s.add("host and handler", func() {
			ctx, cancel := context.WithTimeout(context.Background(), 35*time.Second)
			defer cancel()
			_ = h.Stop(ctx)
		}, nil)
		return "http://" + h.Addr(), nil
	})
	return h, err
}

// welcome is what to paste first.
func (s *stack) welcome(ctx context.Context) string {
	api := fmt.Sprintf("http://127.0.0.1:%d", s.ports.HostPort)
	head := fmt.Sprintf("\nReady: %[1]s  (API reference %[1]s/docs/, probes %[1]s/health/ready). Ctrl-C stops it.\n", api)
	product := s.anyProduct(ctx)
	if s.given.issuer != "" || product == "" {
		return head + "\n"
	}
	return head + fmt.Sprintf(`
A token, then an order. Send the order twice: the second answer is the first one again, and takes no stock.

TOKEN=$(curl -s http://127.0.0.1:%[2]d/token -d grant_type=client_credentials -d sub=customer-1 \
  -d scope='catalog:read order:read order:write order:cancel' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -i -w '\n' %[1]s/api/v1/orders -H "Authorization: Bearer $TOKEN" \
  -H 'Idempotency-Key: %[3]s' -H 'Content-Type: application/json' -d '{
    "customerId": "customer-1",
    "shippingAddress": {"name": "Ada Lovelace", "line1": "1 Main Street", "city": "Austin", "postalCode": "73301", "country": "US"},
    "lines": [{"productId": "%[4]s", "quantity": 2}]}'

curl -i -w '\n' %[1]s/api/v1/products/%[4]s -H "Authorization: Bearer $TOKEN"

# Webhooks: this has the sample receiver told of orders. Order again, with another key, and look at its page:
# http://127.0.0.1:%[6]d
%[5]s

`, api, s.ports.IssuerPort, uuid.NewString(), product,
		receiver.Command(api, fmt.Sprintf("http://127.0.0.1:%d", s.ports.ReceiverPort)), s.ports.ReceiverPort)
}

// anyProduct is the id of something that can be ordered: the demo's first product where it is, else any; "" when
// nothing is in stock.
func (s *stack) anyProduct(ctx context.Context) (id string) {
	conn, err := pgx.Connect(ctx, s.env["DATABASE_URL"])
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `
		SELECT product_id::text FROM inventory WHERE available >= 2
		ORDER BY product_id = $1 DESC LIMIT 1`, demo.FirstID).Scan(&id)
	if err != nil {
		return ""
	}
	return id
}
