package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/redisserver"
)

// servicesCommand runs a command with a throw-away PostgreSQL and Redis beside it: how tests and benchmarks run.
type servicesCommand struct {
	Durable bool              `help:"Run PostgreSQL with fsync on, as benchmarks need it."`
	Observe bool              `help:"Have PostgreSQL count statements (pg_stat_statements) and write its log as JSON where SQL can read it."`
	Set     map[string]string `help:"PostgreSQL settings that differ from ours, as NAME=VALUE."`
	Command []string          `arg:"" passthrough:"" help:"Command to run, after --."`
}

// Help is what `services --help` says beyond the flags.
func (*servicesCommand) Help() string {
	return `The command finds them in TEST_DATABASE_URL (the superuser), TEST_REDIS_URL and TEST_REDIS_SERVER (the path of redis-server, empty where miniredis stands in). Its exit code is ours. Nothing stays behind.`
}

// Run starts the services on free ports, runs the command, and stops them.
func (c *servicesCommand) Run(root checkout) error {
	ctx, stop := untilAskedToStop()
	defer stop()
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return errors.New("no command: services -- COMMAND [ARGUMENTS]")
	}
	dir, remove, err := root.throwAway()
	if err != nil {
		return err
	}
	defer remove()

	settings := maps.Clone(pgserver.FastSettings)
	if c.Durable {
		settings = maps.Clone(pgserver.DurableSettings)
	}
	maps.Copy(settings, c.Set)
	if c.Observe {
		settings["logging_collector"], settings["log_destination"] = "on", "jsonlog"
		settings["pg_stat_statements.track_planning"] = "on"
	}
	pgPort, err := child.FreePort()
	if err != nil {
		return err
	}
	log := func(s string) { fmt.Fprintln(os.Stderr, "services:", s) }
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres"), Port: pgPort, Settings: settings, Statistics: c.Observe, Log: log})
	if err != nil {
		return err
	}
	defer pg.Stop()
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

	return passOn(ctx, command, append(os.Environ(),
		"TEST_DATABASE_URL="+pg.SuperuserURL(),
		"TEST_REDIS_URL="+redis.URL(),
		"TEST_REDIS_SERVER="+redisserver.Installed(),
	))
}

// passOn runs a command in our place: its streams are ours, its exit code too. It stays in our process group, so
// a Ctrl-C in the terminal reaches it; who signals only us means it as well.
func passOn(ctx context.Context, command, environment []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // what the caller asked for
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, environment
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return fmt.Errorf("%s: %w", command[0], err)
	case errors.As(err, &exit):
		return exitCode(exit.ExitCode())
	case err != nil:
		return fmt.Errorf("running %s: %w", command[0], err)
	}
	return nil
}

// exitCode ends the program with a child's code and no words of its own.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }
