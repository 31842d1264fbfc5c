// Package redisserver runs a private Redis for the local stack and for tests: the real server where it is
// installed, else miniredis in this process.
package redisserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

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
func Start(_ context.Context, dir string, port int) (*Server, error) {
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
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	if err := process.WaitFor(port, 10*time.Second); err != nil {
		process.Stop(syscall.SIGKILL, time.Second)
		return nil, err
	}
	return &Server{Kind: "redis-server", port: port, process: process}, nil
}

// URL is its address.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", s.port) }

// Stop ends it.
func (s *Server) Stop() {
	if s.mini != nil {
		s.mini.Close()
		return
	}
	s.process.Stop(syscall.SIGTERM, 5*time.Second)
}
