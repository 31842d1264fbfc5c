// Package pgserver runs a private PostgreSQL for the local stack and for tests, from whatever binaries the
// machine has or can get, as root or as an ordinary user, without touching any other cluster.
//
// Read Start, then replica.go (a standby of it, for tests of a failover), find.go (where binaries come from), account.go (who runs the server and where its data may
// lie), cluster.go (its files) and roles.go (who may log in to what).
package pgserver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/company/order-catalog-service/infra/local/child"
)

// Options say which cluster to run.
type Options struct {
	Dir      string // the cluster's data, made when missing
	Port     int
	Settings map[string]string // on top of PostgreSQL's own defaults
	// Statistics counts and times every statement in the view pg_stat_statements, where the server has it.
	Statistics bool
	Log        func(string) // progress; never nil
}

// Server is a running cluster.
type Server struct {
	process  *child.Process
	port     int
	dir      string
	password string // the superuser's
	log      string // file
	logFrom  int64  // where this run's lines begin
	counts   bool   // statements, in pg_stat_statements
}

// FastSettings give up durability for speed: for clusters that are thrown away.
var FastSettings = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400", "shared_buffers": "128MB",
	"autovacuum_naptime": "10s",
}

// DurableSettings are for a cluster whose data shall last, with room for the pools of a few handlers and for the 256 clients of
// a benchmark.
var DurableSettings = map[string]string{"max_connections": "400", "shared_buffers": "256MB", "max_wal_size": "2GB"}

// Start makes the cluster when Dir is empty, runs it, and makes its roles and database.
func Start(ctx context.Context, o Options) (*Server, error) {
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	bin, err := find(ctx, user, o.Log)
	if err != nil {
		return nil, err
	}
	dir, err := reachable(o.Dir, user, o.Log)
	if err != nil {
		return nil, err
	}
	password, err := initialise(ctx, bin, dir, user, o.Log)
	if err != nil {
		return nil, err
	}
	s, err := run(ctx, bin, dir, password, user, o)
	if err != nil {
		return nil, err
	}
	if err := s.provision(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, s.lastWords())
	}
	return s, nil
}

// run starts the server on its data.
func run(ctx context.Context, bin, dir, password string, user account, o Options) (*Server, error) {
	if err := dropStaleLock(ctx, dir, 15*time.Second); err != nil {
		return nil, err
	}
	s := &Server{port: o.Port, dir: dir, password: password, log: dir + ".log"}
	logFile, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening PostgreSQL's log: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	if info, err := logFile.Stat(); err == nil {
		s.logFrom = info.Size()
	}

	args := []string{"-D", dir, "-p", strconv.Itoa(o.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		args = append(args, "-c", name+"="+o.Settings[name])
	}
	if s.counts = o.Statistics && hasStatistics(ctx, bin); s.counts {
		args = append(args, "-c", "shared_preload_libraries=pg_stat_statements")
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...) //nolint:gosec,noctx // a server found by us, ended by Stop
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.SysProcAttr = logFile, logFile, dir, user.attr()
	// SIGINT: should this process die, the server rolls back what is open, writes a checkpoint and ends.
	if s.process, err = child.Start(cmd, syscall.SIGINT); err != nil {
		return nil, err
	}
	return s, nil
}

// URL is the connection string of a role for a database.
func (s *Server) URL(role, database string) string {
	u := url.URL{Scheme: "postgres", Host: fmt.Sprintf("127.0.0.1:%d", s.port), Path: "/" + database, RawQuery: "sslmode=disable"}
	u.User = url.User(role)
	if role == superuser {
		u.User = url.UserPassword(role, s.password)
	}
	return u.String()
}

// SuperuserURL is the connection string of the cluster's superuser.
func (s *Server) SuperuserURL() string { return s.URL(superuser, superuser) }

// Dir is where the data really is.
func (s *Server) Dir() string { return s.dir }

// PID is the server's process.
func (s *Server) PID() int { return s.process.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Stop ends the server: fast first, which rolls back what is open, then at once, then by force.
func (s *Server) Stop() {
	s.process.Signal(syscall.SIGINT)
	select {
	case <-s.process.Done():
	case <-time.After(10 * time.Second):
		s.process.Stop(syscall.SIGQUIT, 5*time.Second)
	}
}

// Kill ends it as a crash does, for tests of what survives one.
func (s *Server) Kill() { s.process.Stop(syscall.SIGQUIT, 5*time.Second) }

// lastWords is the end of what this run wrote to its log: why it would not start.
func (s *Server) lastWords() string {
	raw, err := os.ReadFile(s.log)
	if err != nil || int64(len(raw)) < s.logFrom {
		return "its log is " + s.log
	}
	lines := bytes.Split(bytes.TrimSpace(raw[s.logFrom:]), []byte("\n"))
	lines = lines[max(0, len(lines)-8):]
	return fmt.Sprintf("its log, %s, ends with:\n  %s", s.log, strings.TrimSpace(string(bytes.Join(lines, []byte("\n  ")))))
}

// hasStatistics says whether the server can load pg_stat_statements, which not every package of it holds.
func hasStatistics(ctx context.Context, bin string) bool {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "pg_config"), "--pkglibdir").Output() //nolint:gosec // found by us
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(strings.TrimSpace(string(out)), "pg_stat_statements.so"))
	return err == nil
}
