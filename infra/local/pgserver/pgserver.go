// Package pgserver runs a private PostgreSQL for the local stack and for tests, from whatever binaries the
// machine has or can get, as root or as an ordinary user, without touching any other cluster.
//
// Read find.go (where binaries come from), then Start.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/infra/local/child"
)

// Roles and database of the local stack. Owner owns the schema and migrates; App is what requests run as.
const (
	Owner    = "orders_owner"
	App      = "orders_app"
	Database = "orders"
)

// Options say which cluster to run.
type Options struct {
	Dir      string // the cluster's data, made when missing
	Port     int
	Settings map[string]string // on top of the defaults
	Log      func(string)      // progress; never nil
}

// Server is a running cluster.
type Server struct {
	process *child.Process
	port    int
	dir     string
}

// FastSettings give up durability for speed: for clusters that are thrown away.
var FastSettings = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400", "shared_buffers": "128MB",
	"autovacuum_naptime": "10s",
}

// Start makes the cluster when Dir is empty, runs it, and makes its roles and database.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := Find(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if o.Dir, err = reachable(o.Dir, user, o.Log); err != nil {
		return nil, err
	}
	if err := initialise(ctx, bin, o, user); err != nil {
		return nil, err
	}
	if err := dropStalePID(o.Dir); err != nil {
		return nil, err
	}
	args := []string{"-D", o.Dir, "-p", strconv.Itoa(o.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for name, value := range o.Settings {
		args = append(args, "-c", name+"="+value)
	}
	logFile, err := os.OpenFile(filepath.Join(filepath.Dir(o.Dir), filepath.Base(o.Dir)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening PostgreSQL's log: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	cmd := exec.Command(filepath.Join(bin, "postgres"), args...) //nolint:gosec,noctx // a server found by us, ended by Stop
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.SysProcAttr = logFile, logFile, o.Dir, user.attr()
	process, err := child.Start(cmd, syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	s := &Server{process: process, port: o.Port, dir: o.Dir}
	if err := s.provision(ctx, process); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w (its log is %s)", err, logFile.Name())
	}
	return s, nil
}

// URL is the connection string of a role for a database.
func (s *Server) URL(role, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", role, s.port, database)
}

// Dir is where the data really is.
func (s *Server) Dir() string { return s.dir }

// PID is the server's process.
func (s *Server) PID() int { return s.process.PID() }

// Stop ends the server: fast first, which rolls back what is open, then by force.
func (s *Server) Stop() { s.process.Stop(syscall.SIGINT, 10*time.Second) }

// Kill ends it as a crash does.
func (s *Server) Kill() { s.process.Stop(syscall.SIGQUIT, 5*time.Second) }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// initialise runs initdb in an empty directory. Everybody on this machine's loopback is trusted: it is a
// development server that listens nowhere else.
func initialise(ctx context.Context, bin string, o Options, user account) error {
	if _, err := os.Stat(filepath.Join(o.Dir, "PG_VERSION")); err == nil {
		return nil
	}
	o.Log("making a PostgreSQL cluster in " + o.Dir)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", o.Dir, err)
	}
	if err := user.own(o.Dir); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", o.Dir, "-U", "postgres", "-E", "UTF8", //nolint:gosec // found by us
		"--locale=C", "-A", "trust", "--no-sync")
	cmd.SysProcAttr, cmd.Dir = user.attr(), o.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w\n%s", o.Dir, err, out)
	}
	return nil
}

// dropStalePID removes the lock of a server that is dead: one that was killed with the machine or the container.
func dropStalePID(dir string) error {
	name := filepath.Join(dir, "postmaster.pid")
	raw, err := os.ReadFile(name) //nolint:gosec // our own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading PostgreSQL's lock: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 0 {
		for range 100 { // a server whose stack was killed is just shutting down
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if syscall.Kill(pid, 0) == nil && strings.Contains(string(command), "postgres") {
			return fmt.Errorf("a PostgreSQL server (pid %d) already runs on %s: is another stack of this checkout running?", pid, dir)
		}
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing PostgreSQL's stale lock: %w", err)
	}
	return nil
}

// provision waits for the server and makes roles and database; what is there stays.
func (s *Server) provision(ctx context.Context, process *child.Process) error {
	if err := process.WaitFor(s.port, 30*time.Second); err != nil {
		return err
	}
	conn, err := connect(ctx, s.URL("postgres", "postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{
		role(Owner, "CREATEDB"), role(App, ""),
		"GRANT pg_read_all_stats TO " + Owner,
		"ALTER ROLE " + App + " SET statement_timeout = '5s'",
		"ALTER ROLE " + App + " SET lock_timeout = '2s'",
		"ALTER ROLE " + App + " SET idle_in_transaction_session_timeout = '10s'",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("making roles: %w", err)
		}
	}
	return CreateDatabase(ctx, conn, s, Database)
}

// CreateDatabase makes a database of the owner in which the app role may read and write what the owner makes.
func CreateDatabase(ctx context.Context, admin *pgx.Conn, s *Server, name string) error {
	var exists bool
	if err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("looking for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" OWNER "+Owner); err != nil {
		return fmt.Errorf("making database %s: %w", name, err)
	}
	conn, err := connect(ctx, s.URL(Owner, name))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return GrantApp(ctx, conn)
}

// GrantApp lets the app role use, not change, the schema that the connected owner makes.
func GrantApp(ctx context.Context, owner *pgx.Conn) error {
	_, err := owner.Exec(ctx, `
		ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO `+App+`;
		ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO `+App)
	if err != nil {
		return fmt.Errorf("granting rights to %s: %w", App, err)
	}
	return nil
}

func role(name, attributes string) string {
	return fmt.Sprintf(`DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN CREATE ROLE %[1]s LOGIN %[2]s; END IF;
	END $$`, name, attributes)
}

// connect retries while the server starts up: it accepts connections before it accepts logins.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	var err error
	for range 200 {
		var conn *pgx.Conn
		if conn, err = pgx.Connect(ctx, url); err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not let us in: %w", err)
}
