package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// StartReplica copies a running server to a standby that follows it. It is for tests of a failover: with the primary's
// setting synchronous_standby_names = '*' no commit is acknowledged that the standby does not have.
func StartReplica(ctx context.Context, primary *Server, o Options) (*Server, error) {
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
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the standby's folder: %w", err)
	}
	if err := user.own(dir); err != nil {
		return nil, err
	}
	backup := exec.CommandContext(ctx, filepath.Join(bin, "pg_basebackup"), "-h", "127.0.0.1", "-p", strconv.Itoa(primary.port), //nolint:gosec // found by us
		"-U", superuser, "-D", dir, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	backup.SysProcAttr, backup.Dir, backup.Env = user.attr(), dir, append(os.Environ(), "PGPASSWORD="+primary.password)
	if out, err := backup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying the server to a standby: %w\n%s", err, out)
	}
	s, err := run(ctx, bin, dir, primary.password, user, o)
	if err != nil {
		return nil, err
	}
	err = s.process.WaitFor(s.port, time.Minute)
	if err == nil {
		conn, failed := s.connect(ctx, s.SuperuserURL())
		if err = failed; err == nil {
			err = conn.Close(ctx)
		}
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting the standby: %w\n%s", err, s.lastWords())
	}
	return s, nil
}

// Promote makes a standby a primary, and returns when it takes writes.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := s.connect(ctx, s.SuperuserURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var promoted bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote(true, 60)").Scan(&promoted); err != nil || !promoted {
		return fmt.Errorf("promoting the standby (done: %t): %w", promoted, err)
	}
	return nil
}
