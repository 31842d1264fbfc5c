package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/stage"
)

// packageCommand is `make package`.
type packageCommand struct {
	Version string `help:"What the handler calls itself; the commit when not given."`
	CI      bool   `env:"CI" help:"Fail when the Go of releases can't be had, instead of using the installed one."`
}

// Run builds for where Azure runs it, stages, and prints what came out.
func (c *packageCommand) Run(root checkout) error {
	ctx, stop := untilAskedToStop()
	defer stop()
	if c.Version == "" {
		c.Version = root.commit(ctx)
	}
	toolchain, err := releaseGo(ctx, c.CI)
	if err != nil {
		return err
	}
	binary := root.local("bin", "handler-linux-amd64")
	if err := stage.Build(ctx, string(root), binary, stage.BuildOptions{GOOS: "linux", GOARCH: "amd64", Version: c.Version, Toolchain: toolchain}); err != nil {
		return err
	}
	dist, err := stage.Stage(stage.Options{Repo: string(root), Binary: binary, Out: root.dist()})
	if err != nil {
		return err
	}
	if err := writeSBOM(ctx, root, binary, dist); err != nil {
		return err
	}
	var total int64
	err = filepath.WalkDir(dist, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(string(root), path)
		fmt.Printf("%12d  %s\n", info.Size(), name)
		total += info.Size()
		return err
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", dist, err)
	}
	fmt.Printf("%12d  in all\n", total)
	// Last, so that whatever was put into dist/ is in it.
	zipped, err := stage.Zip(dist, root.zip())
	if err != nil {
		return err
	}
	name, err := filepath.Rel(string(root), zipped.Path)
	if err != nil {
		return err
	}
	fmt.Printf("%12d  %s (version %s)\nsha256 %s\n", zipped.Size, name, c.Version, zipped.SHA256)
	return nil
}

// zip is what is deployed.
func (c checkout) zip() string { return filepath.Join(string(c), "bin", "order-catalog.zip") }

// commit names what is built, and says when it is not what was committed. Without git it is nothing that anybody knows.
func (c checkout) commit(ctx context.Context) string {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", string(c)}, args...)...) //nolint:gosec // our own arguments
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	hash, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "dev"
	}
	if changed, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
		hash += "-dirty"
	}
	return hash
}

// dist is the folder that is zipped and deployed, and that Core Tools run.
func (c checkout) dist() string { return filepath.Join(string(c), "dist") }

// startCommand is `make start`.
type startCommand struct {
	ports
}

// Help is what `start --help` says beyond the flags.
func (*startCommand) Help() string {
	return `The same stack as run, with the real Functions host from Azure Functions Core Tools in the stand-in's place, and Azurite (by npx) for its timers.`
}

// azuritePort is where UseDevelopmentStorage=true looks for blobs.
const azuritePort = 10000

// Run starts the stack and gives dist/ to the real host.
func (c *startCommand) Run(root checkout) (err error) {
	tools, err := exec.LookPath("func")
	if err != nil {
		return errors.New("func is not on PATH: install Azure Functions Core Tools " +
			"(https://learn.microsoft.com/azure/azure-functions/functions-run-local), or use `make run`, which needs nothing")
	}
	ctx, stop := untilAskedToStop()
	defer stop()
	s, lock, err := begin(ctx, root, c.ports)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	defer s.stop()
	// For this machine, not for Azure: that is what package makes.
	if err := s.build(ctx, root.dist(), true); err != nil {
		return err
	}
	if err := s.startServices(ctx); err != nil {
		return err
	}
	if err := s.steps.do("Azurite", func(func(string)) (string, error) { return s.startAzurite() }); err != nil {
		return err
	}
	host, err := s.startCoreTools(tools)
	if err != nil {
		return err
	}
	go func() { // ends with func at the latest
		if host.WaitFor(s.ports.HostPort, 5*time.Minute) == nil {
			fmt.Print(s.welcome(ctx))
		}
	}()
	select {
	case <-ctx.Done():
		stop()
		fmt.Println("\nStopping.")
		return nil
	case <-host.Done():
		return fmt.Errorf("func ended by itself: %w", errors.Join(host.Err(), os.ErrProcessDone))
	}
}

// startAzurite starts the storage emulator that the host keeps its timers' state and locks in. Without it HTTP
// works and timers don't.
func (s *stack) startAzurite() (string, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(azuritePort))
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil { //nolint:noctx // bounded
		return "the one on port " + strconv.Itoa(azuritePort), conn.Close()
	}
	npx, err := exec.LookPath("npx")
	if err != nil {
		return "none: there is no npx, so timers won't run", nil //nolint:nilerr // said, and HTTP works without
	}
	cmd := exec.CommandContext(context.Background(), npx, "--yes", "azurite@3", "--silent", "--skipApiVersionCheck", "--disableTelemetry", //nolint:gosec // found on PATH
		"--location", s.root.local("azurite"))
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	s.add("Azurite", func() { process.Stop(syscall.SIGTERM, 5*time.Second) }, process.Done())
	return address, process.WaitFor(azuritePort, 2*time.Minute) // npx may have to fetch it first
}

// startCoreTools runs the real host. Of the signals it ends with SIGINT only.
func (s *stack) startCoreTools(tools string) (*child.Process, error) {
	cmd := exec.CommandContext(context.Background(), tools, "start", "--script-root", s.root.dist(), "--port", strconv.Itoa(s.ports.HostPort)) //nolint:gosec // found on PATH
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = string(s.root), s.environment(), os.Stdout, os.Stderr
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	s.add("func", func() { process.Stop(syscall.SIGINT, 35*time.Second) }, nil)
	return process, nil
}
