package kit

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/infra/local/child"
)

// NewPooler starts a PgBouncer in transaction mode in front of a server and returns the server's URL through it, as
// given but for the port. Each database has servers connections to share. Where PgBouncer is not installed the test
// is skipped, unless CI is set.
func NewPooler(t testing.TB, server string, servers int) string {
	t.Helper()
	binary := pgbouncer()
	if binary == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("pgbouncer is not installed")
		}
		t.Skip("pgbouncer is not installed")
	}
	target, err := pgx.ParseConfig(server)
	require.NoError(t, err)
	port, err := child.FreePort()
	require.NoError(t, err)
	// auth_type any: who connects is not asked, and becomes the database's user, whose settings then hold.
	config, err := os.CreateTemp("", "pgbouncer-*.ini") //nolint:usetesting // nobody, who must read it, may not enter the test's folder
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.Remove(config.Name()) })
	_, err = fmt.Fprintf(config, `[databases]
* = host=%s port=%d user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 2000
log_connections = 0
log_disconnections = 0
`, target.Host, target.Port, target.User, port, servers)
	require.NoError(t, err)
	require.NoError(t, config.Chmod(0o644))
	require.NoError(t, config.Close())

	cmd := exec.Command(binary, "--quiet", config.Name()) //nolint:gosec,noctx // found by us, ended with the test
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	if os.Geteuid() == 0 { // it refuses to run as root
		nobody, err := user.Lookup("nobody")
		require.NoError(t, err)
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		require.NoError(t, err)
		gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
		require.NoError(t, err)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	process, err := child.Start(cmd, syscall.SIGKILL)
	require.NoError(t, err)
	t.Cleanup(func() { process.Stop(syscall.SIGTERM, 5*time.Second) })
	require.NoError(t, process.WaitFor(port, 20*time.Second))

	through, err := url.Parse(server)
	require.NoError(t, err)
	through.Host = "127.0.0.1:" + strconv.Itoa(port)
	return through.String()
}

// pgbouncer is the path of the program, "" when there is none. Debian puts it where only root's PATH looks.
func pgbouncer() string {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
