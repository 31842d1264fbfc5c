package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/redisserver"
)

// servicesCommand runs a command with a throw-away PostgreSQL and Redis beside it: how tests and benchmarks run.
type servicesCommand struct {
	Durable bool     `help:"Run PostgreSQL with fsync on, as benchmarks need it."`
	Command []string `arg:"" passthrough:"" help:"Command to run, after --."`
}

// Run starts the services on free ports, runs the command with TEST_DATABASE_URL (the superuser),
// TEST_REDIS_URL and TEST_REDIS_SERVER (path of the real server, or empty), and passes its exit code on.
func (c *servicesCommand) Run(root checkout) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return errors.New("no command: services -- COMMAND [ARGUMENTS]")
	}
	if err := os.MkdirAll(root.local(), 0o755); err != nil { //nolint:gosec // PostgreSQL's user must pass
		return fmt.Errorf("making %s: %w", root.local(), err)
	}
	dir, err := os.MkdirTemp(root.local(), "services-")
	if err != nil {
		return fmt.Errorf("making a folder for the services: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user must pass
		return fmt.Errorf("opening the services' folder: %w", err)
	}

	settings := pgserver.FastSettings
	if c.Durable {
		settings = pgserver.DurableSettings
	}
	pgPort, err := child.FreePort()
	if err != nil {
		return err
	}
	log := func(s string) { fmt.Fprintln(os.Stderr, "services:", s) }
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres"), Port: pgPort, Settings: settings, Log: log})
	if err != nil {
		return err
	}
	defer func() {
		pg.Stop()
		_ = os.RemoveAll(pg.Dir())
	}()
	redisPort, err := child.FreePort()
	if err != nil {
		return err
	}
	redis, err := redisserver.Start(ctx, filepath.Join(dir, "redis"), redisPort)
	if err != nil {
		return err
	}
	defer redis.Stop()
	log(fmt.Sprintf("PostgreSQL on port %d, %s on port %d", pgPort, redis.Kind, redisPort))

	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // what the caller asked for; a Ctrl-C reaches it too
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"TEST_DATABASE_URL="+pg.SuperuserURL(),
		"TEST_REDIS_URL="+redis.URL(),
		"TEST_REDIS_SERVER="+redisserver.Installed(),
	)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(max(exit.ExitCode(), 1))
	}
	return err
}

// exitCode ends the program with a child's code and no words of its own.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
