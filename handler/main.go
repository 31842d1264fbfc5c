// Command handler is the service: one process that the Azure Functions host starts as a custom handler and sends
// everything to, HTTP requests as they came and timer and Service Bus invocations in a JSON envelope.
//
// Read routes.go for all that it answers, wiring.go for what it is made of, envelope.go for how triggers arrive
// and config.go for its settings. On AWS Lambda, lambda.go stands where the host does.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/company/order-catalog-service/functions/health"
	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/telemetry"
)

// version is set when the binary is built for release.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := do(ctx, os.Args[1:], env.ToMap(os.Environ())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const usage = `handler %s: the Order & Catalog service as an Azure Functions custom handler.

  handler                       serve; the host starts it so
  handler rotate-webhook-keys   seal what is stored under the newest WebhookSecret; --help says more

Settings come from the environment, see docs/settings.md.
`

// do is what the arguments ask for.
func do(ctx context.Context, arguments []string, environment map[string]string) error {
	switch {
	case len(arguments) == 0:
		return run(ctx, environment)
	case arguments[0] == rotateCommand:
		return rotate(ctx, arguments[1:], environment, os.Stdout)
	case arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help" || arguments[0] == "--version":
		fmt.Printf(usage, version)
		return nil
	default:
		return fmt.Errorf("there is no command %q; handler --help names those there are", arguments[0])
	}
}

// run serves until ctx ends. The port listens before anything is asked of a store: the host waits for the first
// answer, and kills what does not give one.
func run(ctx context.Context, environment map[string]string) error {
	c, err := load(environment)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		// The live heap is some tens of megabytes: collecting it eight times less often than by default takes a few hundred
		// of them and gives a tenth of the processor back under load.
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30) // where that would be too much, collect more often
	}
	seen, err := telemetry.Setup(ctx, c.telemetry())
	if err != nil {
		return err
	}
	defer func() {
		// What is still queued goes out, unless the collector is away: then nobody waits for it.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = seen.Close(ending)
	}()
	logger := seen.Logger
	slog.SetDefault(logger)
	if c.LambdaRuntime != "" {
		access, err := open(ctx, c, logger, nil)
		if err != nil {
			return err
		}
		s, err := wire(ctx, c, access, seen)
		if err != nil {
			return err
		}
		defer s.close()
		s.start(ctx)
		s.serveLambda(ctx)
		return errors.New("AWS Lambda's runtime interface has gone")
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("listening on FUNCTIONS_CUSTOMHANDLER_PORT: %w", err)
	}
	access, err := open(ctx, c, logger, nil)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s, err := wire(ctx, c, access, seen)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer s.close()

	server := newServer(s.api.Handler(), logger)
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.start(working)

	served := make(chan error, 1)
	background.Go("http", func() { served <- server.Serve(listener) })
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	// Nothing depends on this: the host usually kills without a word. Where a signal comes, finish what is open.
	s.state.Store(health.Draining)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(drain)
}
