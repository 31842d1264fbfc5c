// Package redisserver runs a private Redis for the local stack and for tests: the real server where it is
// installed, else miniredis in this process.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/company/order-catalog-service/infra/local/child"
)

// Server is a running Redis.
type Server struct {
	// Kind says what it is, for people: "redis-server" or "miniredis".
	Kind    string
	port    int
	process *child.Process
	mini    *miniredis.Miniredis
}

// Installed is the path of the real server, "" when there is none.
func Installed() string {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return ""
	}
	return path
}

// Start runs Redis on 127.0.0.1:port with its working files in dir. Nothing is written to disk: what Redis holds
// may be lost at any time.
func Start(ctx context.Context, dir string, port int) (*Server, error) {
	path := Installed()
	if path == "" {
		mini := miniredis.NewMiniRedis()
		if err := mini.StartAddr("127.0.0.1:" + strconv.Itoa(port)); err != nil {
			return nil, fmt.Errorf("starting miniredis: %w", err)
		}
		return &Server{Kind: "miniredis", port: port, mini: mini}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // holds nothing
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	cmd := exec.Command(path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, //nolint:gosec,noctx // ended by Stop
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: "redis-server", port: port, process: process}
	if err := s.wait(ctx); err != nil {
		process.Stop(syscall.SIGKILL, time.Second)
		return nil, fmt.Errorf("starting Redis on port %d: %w\n%s", port, err, strings.TrimSpace(said.String()))
	}
	return s, nil
}

// wait returns when the server that answers on the port is the one we started.
func (s *Server) wait(ctx context.Context) error {
	if err := s.process.WaitFor(s.port, 10*time.Second); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(s.port)})
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("asking it who it is: %w", err)
	}
	if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.process.PID())) {
		return errors.New("another Redis answers there")
	}
	return nil
}

// URL is its address, with a database.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", s.port) }

// Done is closed when the server has ended; nil, which never is, for the one in this process.
func (s *Server) Done() <-chan struct{} {
	if s.process == nil {
		return nil
	}
	return s.process.Done()
}

// PID is the server's process, 0 for the one in this process.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.PID()
}

// Kill ends it as a crash does, for tests of what survives one.
func (s *Server) Kill() {
	if s.mini != nil {
		s.mini.Close()
		return
	}
	s.process.Stop(syscall.SIGKILL, time.Second)
}

// Stop ends it.
func (s *Server) Stop() {
	if s.mini != nil {
		s.mini.Close()
		return
	}
	s.process.Stop(syscall.SIGTERM, 5*time.Second)
}
