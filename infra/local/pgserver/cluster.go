package pgserver

import (
	"context"
	"crypto/rand"
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
)

// passwordFile holds the superuser's password, inside the cluster: they are made and thrown away together.
const passwordFile = "superuser.password"

// whoMayLogIn is the cluster's pg_hba.conf. Any user of the machine can reach a port on its loopback, and a
// superuser of PostgreSQL can run programs, so that one needs the password; the stack's two roles can't do more
// than read and write the demo shop, and connection strings without secrets can be pasted.
const whoMayLogIn = `host all,replication ` + superuser + ` 127.0.0.1/32 scram-sha-256
host all +` + Owner + `,` + App + ` 127.0.0.1/32 trust
`

// initialise makes a cluster where there is none and returns its superuser's password. It is made beside its
// place and moved there whole, so that one that was interrupted is never taken for a cluster.
func initialise(ctx context.Context, bin, dir string, user account, log func(string)) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return readCluster(ctx, bin, dir)
	}
	log("making a PostgreSQL cluster in " + dir)
	draft := dir + ".new"
	if err := errors.Join(os.RemoveAll(draft), os.Mkdir(draft, 0o700)); err != nil {
		return "", fmt.Errorf("making the cluster's folder: %w", err)
	}
	password := rand.Text()
	secret := dir + ".password"
	defer func() { _ = os.Remove(secret) }()
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return "", fmt.Errorf("handing initdb a password: %w", err)
	}
	if err := errors.Join(user.own(draft), user.own(secret)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", draft, "-U", superuser, "-E", "UTF8", //nolint:gosec // found by us
		"--locale=C", "-A", "scram-sha-256", "--pwfile="+secret, "--no-sync")
	cmd.SysProcAttr, cmd.Dir = user.attr(), draft
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb in %s: %w\n%s", draft, err, out)
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(draft, "pg_hba.conf"), []byte(whoMayLogIn), 0o600),
		os.Rename(secret, filepath.Join(draft, passwordFile)),
		os.Rename(draft, dir))
	if err != nil {
		return "", fmt.Errorf("putting the cluster in place: %w", err)
	}
	return password, nil
}

// readCluster checks that an existing cluster is one of ours and of the version that would run it.
func readCluster(ctx context.Context, bin, dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION")) //nolint:gosec // our own data directory
	if err != nil {
		return "", fmt.Errorf("reading the cluster in %s: %w", dir, err)
	}
	made, runs := strings.TrimSpace(string(raw)), version(ctx, bin)
	if made != strconv.Itoa(runs) {
		return "", fmt.Errorf("the data in %s was made by PostgreSQL %s, and the server here is %d: "+
			"name the older one's folder in PG_BIN, or wipe the data with `make reset`", dir, made, runs)
	}
	password, err := os.ReadFile(filepath.Join(dir, passwordFile)) //nolint:gosec // our own data directory
	if err != nil {
		return "", fmt.Errorf("the cluster in %s was not made by this stack (%w): wipe it with `make reset`", dir, err)
	}
	return string(password), nil
}

// dropStaleLock removes the lock of a server that is dead, one that went down with its machine or container: the
// process id in it may belong to anybody by now, and PostgreSQL would refuse to start. A server that is just
// ending, because its stack was killed a moment ago, is waited for.
func dropStaleLock(ctx context.Context, dir string, patience time.Duration) error {
	name := filepath.Join(dir, "postmaster.pid")
	deadline := time.Now().Add(patience)
	for {
		raw, err := os.ReadFile(name) //nolint:gosec // our own data directory
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading PostgreSQL's lock: %w", err)
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil || !isPostgres(ctx, pid) {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a PostgreSQL server (process %d) already runs on %s: end it (kill -INT %d)", pid, dir, pid)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing PostgreSQL's stale lock: %w", err)
	}
	return nil
}

// isPostgres says whether the process lives and is a PostgreSQL server. A dead one that nobody has waited for
// yet (the usual end of an orphan in a container) has no command line and counts as dead.
func isPostgres(ctx context.Context, pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if _, noProc := os.Stat("/proc/self"); noProc != nil {
		command, err = exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec // a number
	}
	return err == nil && strings.Contains(string(command), "postgres")
}
