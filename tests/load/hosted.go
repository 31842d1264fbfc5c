package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/host"
	"github.com/company/order-catalog-service/infra/local/pump"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/tests/load/proc"
)

// hostSettings say what a host is to run.
type hostSettings struct {
	Port                 int
	ScriptRoot, StateDir string
	Env                  []string
	Connection           string // to Service Bus
}

// serveHost runs the stand-in for the Functions host with the handler, as the local stack does.
func serveHost(ctx context.Context, in io.Reader) error {
	var s hostSettings
	// The host listens itself; this one only says that the port is free.
	probe, err := listenFor(ctx, in, &s, &s.Port)
	if err != nil {
		return err
	}
	if err := probe.Close(); err != nil {
		return fmt.Errorf("starting the host: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	messages, err := pump.Open(s.Connection, logger)
	if err != nil {
		return err
	}
	h, err := host.Load(host.Options{
		ScriptRoot: s.ScriptRoot, Addr: fmt.Sprintf("127.0.0.1:%d", s.Port), Env: s.Env, StateDir: s.StateDir, Logger: logger, Pump: messages.Receive,
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	if err := h.Start(ctx); err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
		defer cancel()
		_ = h.Stop(last) // its end is awaited below
	}()
	return h.Wait()
}

// startHosted stages the app and starts the host, which starts the handler.
func (s *stack) startHosted(c settings, bus string) error {
	root, err := stage.Stage(stage.Options{Repo: ".", Binary: s.binary, Out: filepath.Join(s.dir, "app")})
	if err != nil {
		return err
	}
	state := filepath.Join(s.dir, "timers")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("starting the host: %w", err)
	}
	port, err := child.FreePort()
	if err != nil {
		return err
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", port)
	process, err := s.startSelf("serve-host", hostSettings{
		Port: port, ScriptRoot: root, StateDir: state, Connection: bus,
		Env: append([]string{"FUNCTIONS_WORKER_RUNTIME=custom", "AzureWebJobsDisableHomepage=true"}, s.environment(c, bus)...),
	}, port)
	if err != nil {
		return err
	}
	s.host = process.PID()
	s.parts = append(s.parts, processPart("host", s.host))
	if !proc.Available() {
		return nil
	}
	// Whichever it is: a host starts a handler that has ended again.
	s.parts = append([]part{{handlerPart, func() (time.Duration, error) { return proc.UsedByChildren(s.host) }}}, s.parts...)
	return nil
}

// findHandler finds the process that the host has started, and says whether it is the one that was found before.
func (s *stack) findHandler() (same bool, err error) {
	if s.host == 0 || !proc.Available() {
		return true, nil
	}
	handlers, err := proc.Children(s.host)
	if err != nil {
		return false, err
	}
	if len(handlers) != 1 {
		return false, nil // it has just ended, or a second one is starting
	}
	same = s.handler == 0 || s.handler == handlers[0]
	s.handler = handlers[0]
	return same, nil
}
